#include "recognizer.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <stdexcept>

namespace ocr {

namespace {

const float kVerticalRatio = 1.5f;

double distance(const cv::Point2f& a, const cv::Point2f& b) {
  return std::hypot(static_cast<double>(a.x - b.x), static_cast<double>(a.y - b.y));
}

int whole_side(double a, double b) {
  return std::max(1, static_cast<int>(std::ceil(std::max(a, b))));
}

// How many more pixels or steps of `part` cover `whole`.
int ceil_div(int whole, int part) { return (whole + part - 1) / part; }

}  // namespace

Recognizer::Recognizer(const std::string& folder, int threads, bool half)
    : card_(load_rec_card(folder)), network_(folder + "/lite", threads, half) {}

Line Recognizer::recognize(const cv::Mat& line) {
  return decode_line(network_.run(rec_input(line, card_.image)), card_.charset);
}

cv::Mat crop_line(const cv::Mat& picture, const Region& region) {
  const std::array<cv::Point2f, 4>& p = region.points;
  const int width = whole_side(distance(p[0], p[1]), distance(p[3], p[2]));
  const int height = whole_side(distance(p[0], p[3]), distance(p[1], p[2]));
  const float w = static_cast<float>(width), h = static_cast<float>(height);
  const std::array<cv::Point2f, 4> frame = {
      {cv::Point2f(0, 0), cv::Point2f(w, 0), cv::Point2f(w, h), cv::Point2f(0, h)}};
  cv::Mat crop;
  cv::warpPerspective(picture, crop, cv::getPerspectiveTransform(p.data(), frame.data()),
                      cv::Size(width, height), cv::INTER_CUBIC, cv::BORDER_REPLICATE);
  if (h >= kVerticalRatio * w) cv::rotate(crop, crop, cv::ROTATE_90_COUNTERCLOCKWISE);
  return crop;
}

Array rec_input(const cv::Mat& line, const RecImage& rule) {
  const int ideal = std::max(1, ceil_div(rule.height * line.cols, line.rows));
  const int scaled_width = std::min(ideal, rule.max_width);
  const int steps = std::max(0, ceil_div(scaled_width - rule.min_width, rule.width_step));
  const int bucket = std::min(rule.min_width + steps * rule.width_step, rule.max_width);
  cv::Mat scaled = line;
  const cv::Size size(scaled_width, rule.height);
  if (size != line.size()) cv::resize(line, scaled, size);
  Array images;
  images.shape = {1, 3, rule.height, bucket};
  images.values.assign(static_cast<std::size_t>(3) * rule.height * bucket, 0.0f);
  for (int channel = 0; channel < 3; ++channel) {
    for (int y = 0; y < rule.height; ++y) {
      const unsigned char* const row = scaled.ptr<unsigned char>(y);
      float* const out = images.values.data() + (channel * rule.height + y) * bucket;
      for (int x = 0; x < scaled_width; ++x) out[x] = row[3 * x + channel] / 127.5f - 1.0f;
    }
  }
  return images;
}

Line decode_line(const Array& probabilities, const std::vector<std::string>& charset) {
  if (probabilities.shape.size() != 3 || probabilities.shape[0] != 1)
    throw std::runtime_error("the network's output is no line's: one [1, T, C] expected");
  const int64_t steps = probabilities.shape[1];
  const int64_t classes = probabilities.shape[2];
  if (classes != static_cast<int64_t>(charset.size()) + 1)
    throw std::runtime_error("the network gives " + std::to_string(classes) + " classes, the card " +
                             std::to_string(charset.size() + 1));
  Line line;
  double sum = 0;
  int characters = 0;
  int64_t before = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const float* const row = probabilities.values.data() + step * classes;
    const int64_t best = std::max_element(row, row + classes) - row;
    if (best != 0 && best != before) {
      line.text += charset[static_cast<std::size_t>(best - 1)];
      sum += row[best];
      ++characters;
    }
    before = best;
  }
  line.confidence = characters == 0 ? 0.0f : static_cast<float>(sum / characters);
  return line;
}

}  // namespace ocr
