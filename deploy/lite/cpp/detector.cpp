#include "detector.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <utility>

namespace ocr {

namespace {

// A region must have grown by at least this to be kept, px of the map.
const float kGrownSideExtra = 2.0f;

// A half is rounded to the even neighbour.
int to_multiple(double side, const DetImage& rule) {
  const int steps = static_cast<int>(std::nearbyint(std::floor(side) / rule.multiple));
  return std::max(1, std::min(rule.max_side / rule.multiple, steps)) * rule.multiple;
}

cv::Size det_size(const cv::Mat& picture, const DetImage& rule) {
  const double shorter = std::min(picture.rows, picture.cols);
  const double longer = std::max(picture.rows, picture.cols);
  double scale = std::max(1.0, rule.min_side / shorter);
  if (longer * scale > rule.max_side) scale = rule.max_side / longer;
  return cv::Size(to_multiple(picture.cols * scale, rule), to_multiple(picture.rows * scale, rule));
}

std::array<cv::Point2f, 4> corners_of(const cv::RotatedRect& box) {
  std::array<cv::Point2f, 4> corners;
  box.points(corners.data());
  return corners;
}

// Clockwise from top-left, as a reader of level text sees them.
void order_corners(std::array<cv::Point2f, 4>* corners) {
  const auto by_x = [](const cv::Point2f& a, const cv::Point2f& b) { return a.x < b.x; };
  const auto by_y = [](const cv::Point2f& a, const cv::Point2f& b) { return a.y < b.y; };
  std::stable_sort(corners->begin(), corners->end(), by_x);
  std::stable_sort(corners->begin(), corners->begin() + 2, by_y);
  std::stable_sort(corners->begin() + 2, corners->end(), by_y);
  // Now: top-left, bottom-left, top-right, bottom-right.
  *corners = {{(*corners)[0], (*corners)[2], (*corners)[3], (*corners)[1]}};
}

float mean_inside(const cv::Mat& probabilities, const std::array<cv::Point2f, 4>& corners) {
  float left = corners[0].x, right = left, top = corners[0].y, bottom = top;
  for (const cv::Point2f& corner : corners) {
    left = std::min(left, corner.x);
    right = std::max(right, corner.x);
    top = std::min(top, corner.y);
    bottom = std::max(bottom, corner.y);
  }
  const int x0 = std::max(0, static_cast<int>(std::floor(left)));
  const int y0 = std::max(0, static_cast<int>(std::floor(top)));
  const int x1 = std::min(static_cast<int>(std::ceil(right)), probabilities.cols - 1);
  const int y1 = std::min(static_cast<int>(std::ceil(bottom)), probabilities.rows - 1);
  const cv::Mat window = probabilities(cv::Range(y0, y1 + 1), cv::Range(x0, x1 + 1));
  cv::Mat mask = cv::Mat::zeros(window.size(), CV_8U);
  std::vector<cv::Point> outline;
  for (const cv::Point2f& corner : corners)  // towards 0, as the conversion to int does
    outline.push_back(cv::Point(static_cast<int>(corner.x - x0), static_cast<int>(corner.y - y0)));
  cv::fillPoly(mask, std::vector<std::vector<cv::Point>>{outline}, cv::Scalar(1));
  return static_cast<float>(cv::mean(window, mask)[0]);
}

std::pair<float, float> first_corner(const Region& region) {
  float x = region.points[0].x, y = region.points[0].y;
  for (const cv::Point2f& point : region.points) {
    x = std::min(x, point.x);
    y = std::min(y, point.y);
  }
  return std::make_pair(y, x);
}

}  // namespace

Detector::Detector(const std::string& folder, int threads, bool half)
    : card_(load_det_card(folder)), network_(folder + "/lite", threads, half) {}

std::vector<Region> Detector::detect(const cv::Mat& picture) {
  const Array images = det_input(picture, card_.image);
  Array found = network_.run(images);
  const std::vector<int64_t> expected = {1, 1, images.shape[2], images.shape[3]};
  if (found.shape != expected)
    throw std::runtime_error("the network's output is no map of its input's size: no detector's");
  const cv::Mat probabilities(static_cast<int>(found.shape[2]), static_cast<int>(found.shape[3]),
                              CV_32F, found.values.data());
  return decode_regions(probabilities, picture.size(), card_.decode);
}

Array det_input(const cv::Mat& picture, const DetImage& rule) {
  const cv::Size size = det_size(picture, rule);
  cv::Mat scaled = picture;
  if (size != picture.size()) cv::resize(picture, scaled, size);
  Array images;
  images.shape = {1, 3, size.height, size.width};
  images.values.reserve(static_cast<std::size_t>(size.area()) * 3);
  for (int channel = 0; channel < 3; ++channel) {
    const float factor = 1.0f / 255 / rule.std[channel];
    const float shift = rule.mean[channel] / rule.std[channel];
    for (int y = 0; y < size.height; ++y) {
      const unsigned char* const row = scaled.ptr<unsigned char>(y);
      for (int x = 0; x < size.width; ++x)
        images.values.push_back(row[3 * x + channel] * factor - shift);
    }
  }
  return images;
}

std::vector<Region> decode_regions(const cv::Mat& probabilities, const cv::Size& size,
                                   const DetDecode& rule) {
  std::vector<std::vector<cv::Point>> contours;
  const cv::Mat mask = probabilities > rule.threshold;
  cv::findContours(mask, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
  if (contours.size() > static_cast<std::size_t>(rule.max_candidates))
    contours.resize(static_cast<std::size_t>(rule.max_candidates));
  const float scale_x = static_cast<float>(size.width) / probabilities.cols;
  const float scale_y = static_cast<float>(size.height) / probabilities.rows;
  std::vector<Region> regions;
  for (const std::vector<cv::Point>& contour : contours) {
    cv::RotatedRect box = cv::minAreaRect(contour);
    const float a = box.size.width, b = box.size.height;
    if (std::min(a, b) < rule.min_side) continue;
    Region region;
    region.score = mean_inside(probabilities, corners_of(box));
    if (region.score < rule.min_score) continue;
    // Grown by a fixed distance with round corners, its smallest rectangle grows on each side.
    // In double, as Python computes: crops are rounded up to whole pixels.
    const double reach = static_cast<double>(a) * b / (2 * (static_cast<double>(a) + b));
    const double growth = reach * rule.unclip_ratio;
    if (std::min(a, b) + 2 * growth < rule.min_side + kGrownSideExtra) continue;
    const double by = growth + reach * rule.reading_margin;
    box.size = cv::Size2f(static_cast<float>(a + 2 * by), static_cast<float>(b + 2 * by));
    region.points = corners_of(box);
    for (cv::Point2f& point : region.points) {
      point.x = std::max(0.0f, std::min(point.x * scale_x, static_cast<float>(size.width)));
      point.y = std::max(0.0f, std::min(point.y * scale_y, static_cast<float>(size.height)));
    }
    order_corners(&region.points);
    regions.push_back(region);
  }
  std::stable_sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) {
    return first_corner(a) < first_corner(b);
  });
  return regions;
}

}  // namespace ocr
