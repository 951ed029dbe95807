// Files to pixels.
#pragma once

#include <opencv2/core.hpp>
#include <string>

namespace ocr {

// [H, W, 3] uint8 BGR. With OpenCV's imgcodecs every format that it knows, else PPM (P6, 8 bits).
// Throws std::runtime_error with the path.
cv::Mat read_picture(const std::string& path);

}  // namespace ocr
