// What a line says.
#pragma once

#include <opencv2/core.hpp>
#include <string>

#include "card.h"
#include "detector.h"
#include "network.h"

namespace ocr {

struct Line {
  std::string text;  // UTF-8; may be empty
  float confidence;  // mean probability of the characters, in [0, 1]
};

class Recognizer {
 public:
  // folder: an exported recognizer.
  Recognizer(const std::string& folder, int threads, bool half);

  // line: [h, w, 3] uint8 BGR, level.
  Line recognize(const cv::Mat& line);

 private:
  RecCard card_;
  Network network_;
};

// Cut a region out of a picture and straighten it; one much taller than wide is turned by 90
// degrees counter-clockwise.
cv::Mat crop_line(const cv::Mat& picture, const Region& region);

// [1, 3, height, bucket], as the recognizer is fed.
Array rec_input(const cv::Mat& line, const RecImage& rule);

// probabilities: [1, T, K]. The best class of each step, repeats merged, blanks dropped.
Line decode_line(const Array& probabilities, const std::vector<std::string>& charset);

}  // namespace ocr
