// Where text stands in a picture.
#pragma once

#include <array>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "card.h"
#include "network.h"

namespace ocr {

struct Region {
  std::array<cv::Point2f, 4> points;  // px of the picture, clockwise from top-left
  float score;                        // mean probability inside, in [0, 1]
};

class Detector {
 public:
  // folder: an exported detector.
  Detector(const std::string& folder, int threads, bool half);

  // picture: [H, W, 3] uint8 BGR. Regions from top to bottom, then from left to right.
  std::vector<Region> detect(const cv::Mat& picture);

 private:
  DetCard card_;
  Network network_;
};

// [1, 3, h, w], as the detector is fed.
Array det_input(const cv::Mat& picture, const DetImage& rule);

// probabilities: [h, w] float in [0, 1]; size: of the picture, px.
std::vector<Region> decode_regions(const cv::Mat& probabilities, const cv::Size& size,
                                   const DetDecode& rule);

}  // namespace ocr
