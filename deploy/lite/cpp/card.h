// What an exported model says of itself: exported.json and charset.txt, as scripts/export.py writes
// them. Every number of pre- and post-processing comes from there.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace ocr {

// Input of the detector: BGR, (value / 255 - mean) / std a channel.
struct DetImage {
  std::array<float, 3> mean;
  std::array<float, 3> std;
  int min_side;  // px; a picture whose shorter side is below is enlarged to it
  int max_side;  // px; one whose longer side is above is shrunk to it
  int multiple;  // px; both sides are rounded to a multiple
};

// From the map of probabilities to boxes.
struct DetDecode {
  float threshold;
  float min_score;
  float unclip_ratio;
  float reading_margin;  // added to unclip_ratio; 0 in cards that do not name it
  float min_side;  // px of the map
  int max_candidates;
};

// Input of the recognizer: BGR, value / 127.5 - 1, padded on the right with 0 to a bucket.
struct RecImage {
  int height;      // px
  int min_width;   // px, the narrowest bucket
  int width_step;  // px from one bucket to the next
  int max_width;   // px, the widest bucket
};

struct DetCard {
  DetImage image;
  DetDecode decode;
};

struct RecCard {
  RecImage image;
  // Class k is entry k - 1; class 0 is the blank, the last entry the space.
  std::vector<std::string> charset;
};

// Both throw std::runtime_error, with the file's name, where the folder is no exported model of
// this kind or of another version.
DetCard load_det_card(const std::string& folder);
RecCard load_rec_card(const std::string& folder);

}  // namespace ocr
