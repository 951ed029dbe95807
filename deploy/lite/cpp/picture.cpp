#include "picture.h"

#include <stdexcept>

#ifdef WITH_IMGCODECS
#include <opencv2/imgcodecs.hpp>
#else
#include <fstream>
#include <limits>
#include <opencv2/imgproc.hpp>
#endif

namespace ocr {

#ifdef WITH_IMGCODECS

cv::Mat read_picture(const std::string& path) {
  const cv::Mat picture = cv::imread(path, cv::IMREAD_COLOR);
  if (picture.empty()) throw std::runtime_error(path + ": no picture that OpenCV reads");
  return picture;
}

#else

namespace {

const int kLargestSide = 16000;  // px

// The next number of the header; comments run from '#' to the end of the line.
int next_number(std::ifstream* stream) {
  while ((*stream >> std::ws) && stream->peek() == '#')
    stream->ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  int value = 0;
  *stream >> value;
  return value;
}

}  // namespace

cv::Mat read_picture(const std::string& path) {
  std::ifstream stream(path.c_str(), std::ios::binary);
  char magic[2] = {0, 0};
  stream.read(magic, 2);
  const int width = next_number(&stream);
  const int height = next_number(&stream);
  const int most = next_number(&stream);
  stream.get();
  if (!stream || magic[0] != 'P' || magic[1] != '6' || most != 255 || width < 1 || height < 1 ||
      width > kLargestSide || height > kLargestSide)
    throw std::runtime_error(path + ": not a PPM picture (P6, 8 bits); other formats are read when "
                                    "this program is built with OpenCV's imgcodecs");
  cv::Mat picture(height, width, CV_8UC3);
  stream.read(reinterpret_cast<char*>(picture.data), static_cast<std::streamsize>(picture.total() * 3));
  if (!stream) throw std::runtime_error(path + ": ends before its last pixel");
  cv::cvtColor(picture, picture, cv::COLOR_RGB2BGR);
  return picture;
}

#endif

}  // namespace ocr
