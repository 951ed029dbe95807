// Stand-in for the header of the same name that a Paddle Lite runtime brings: for tests only.
//
// What the example of deploy/lite/cpp calls, with the signatures that Paddle Lite documents, and with
// the sizes that paddlelite 2.13rc0 has on x86-64, so that what is compiled with it also runs when it
// is linked with that build. A real program is compiled with the runtime's own header.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace paddle {
namespace lite_api {

using shape_t = std::vector<int64_t>;

enum class TargetType : int { kHost = 1 };
enum PowerMode { LITE_POWER_HIGH = 0, LITE_POWER_NO_BIND = 3 };
enum class LiteModelType { kProtobuf = 0, kNaiveBuffer };

struct Tensor {
  void Resize(const shape_t& shape);
  template <typename T>
  const T* data() const;
  template <typename T>
  T* mutable_data(TargetType type = TargetType::kHost) const;
  shape_t shape() const;

 private:
  void* raw_;
};

// The order of the virtual functions is that of the library's table.
class PaddlePredictor {
 public:
  virtual std::unique_ptr<Tensor> GetInput(int i) = 0;
  virtual std::unique_ptr<const Tensor> GetOutput(int i) const = 0;
  virtual void Run() = 0;
  virtual std::shared_ptr<PaddlePredictor> Clone() = 0;
  virtual std::shared_ptr<PaddlePredictor> Clone(const std::vector<std::string>& names) = 0;
  virtual std::string GetVersion() const = 0;

 protected:
  ~PaddlePredictor() = default;  // the library deletes it
};

class ConfigBase {
 public:
  explicit ConfigBase(PowerMode mode = LITE_POWER_NO_BIND, int threads = 1);
  ~ConfigBase();
  void set_threads(int threads);
  void set_power_mode(PowerMode mode);

 private:
  alignas(8) unsigned char content_[528];
};

class MobileConfig : public ConfigBase {
 public:
  void set_model_from_file(const std::string& path);

 private:
  bool from_memory_{false};
  int precision_mode_{0};
  std::string model_;
  std::string old_model_;
  std::string old_parameters_;
  unsigned char more_[64] = {};
};

template <typename ConfigT>
std::shared_ptr<PaddlePredictor> CreatePaddlePredictor(const ConfigT& config);

}  // namespace lite_api
}  // namespace paddle
