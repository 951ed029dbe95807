#include "network.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace ocr {

namespace {

// A .nb file is read by the runtime of the version that wrote it; Lite itself would only warn.
const char* const kRuntime = "v2.13-rc";

#if defined(__aarch64__) || defined(__arm__)
const bool kOneSizeOnly = false;
#else
// On x86 a predictor that gets a narrower picture after a wider one writes outside its memory.
const bool kOneSizeOnly = true;
#endif

std::string file_name(bool half) {
#if defined(__aarch64__) || defined(__arm__)
  return half ? "/arm_fp16.nb" : "/arm.nb";
#else
  if (half) throw std::runtime_error("half precision runs on armv8.2 only");
  return "/x86.nb";
#endif
}

}  // namespace

Network::Network(const std::string& folder, int threads, bool half)
    : path_(folder + file_name(half)), threads_(threads) {
  // Lite ends the process where a file is absent.
  if (!std::ifstream(path_.c_str()))
    throw std::runtime_error(path_ + ": absent; export the model with lite");
  predictor_ = make();
  const std::string version = predictor_->GetVersion();
  if (version != kRuntime)
    throw std::runtime_error("the Paddle Lite runtime is " + version + ", the model was made for " +
                             kRuntime + ": link that one");
}

Network::Predictor Network::make() const {
  paddle::lite_api::MobileConfig config;
  config.set_model_from_file(path_);
  config.set_threads(threads_);
  config.set_power_mode(paddle::lite_api::LITE_POWER_NO_BIND);
  Predictor predictor = paddle::lite_api::CreatePaddlePredictor<paddle::lite_api::MobileConfig>(config);
  if (!predictor) throw std::runtime_error(path_ + ": Paddle Lite cannot load it");
  return predictor;
}

Array Network::run(const Array& images) {
  if (kOneSizeOnly && !seen_.empty() && seen_ != images.shape) {
    predictor_.reset();  // its memory first
    predictor_ = make();
  }
  seen_ = images.shape;
  const auto input = predictor_->GetInput(0);
  input->Resize(images.shape);
  std::copy(images.values.begin(), images.values.end(), input->mutable_data<float>());
  predictor_->Run();
  const auto output = predictor_->GetOutput(0);
  Array result;
  result.shape = output->shape();
  std::size_t size = 1;
  for (const int64_t side : result.shape) size *= static_cast<std::size_t>(side);
  const float* const values = output->data<float>();
  result.values.assign(values, values + size);
  return result;
}

}  // namespace ocr
