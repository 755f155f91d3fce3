#include "app/run/fault.h"

#include <csignal>
#include <limits>
#include <sstream>
#include <thread>

#include "base/error.h"

namespace syncbn::app {

Fault Fault::Parse(const std::string& text) {
  auto refuse = [&]() -> Fault {
    throw Error(ErrorCode::kInvalidArgument,
                "--fault " + text +
                    ": expected kill, stall, throw or nan, then @step=N,replica=N[,layer=NAME]");
  };
  Fault fault;
  const size_t at = text.find('@');
  const std::string kind = text.substr(0, at);
  if (kind == "kill") fault.kind = Kind::kKill;
  else if (kind == "stall") fault.kind = Kind::kStall;
  else if (kind == "throw") fault.kind = Kind::kThrow;
  else if (kind == "nan") fault.kind = Kind::kNan;
  else return refuse();
  if (at == std::string::npos) return fault;
  std::istringstream settings(text.substr(at + 1));
  for (std::string setting; std::getline(settings, setting, ',');) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) return refuse();
    const std::string key = setting.substr(0, equals), value = setting.substr(equals + 1);
    if (key == "layer") {
      fault.layer = value;
      continue;
    }
    if (value.empty() || value.find_first_not_of("0123456789") != std::string::npos) return refuse();
    if (key == "step") fault.step = std::stoll(value);
    else if (key == "replica") fault.replica = std::stoi(value);
    else return refuse();
  }
  return fault;
}

void Fault::OnBatch(int64_t at_step, int at_replica, data::Batch& batch) const {
  if (kind == Kind::kNone || at_step != step || at_replica != replica) return;
  if (kind == Kind::kNan) {
    if (batch.images.elements() > 0) {
      batch.images.Data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    }
  } else if (layer.empty()) {
    Strike();
  }
}

nn::TensorObserver Fault::Observe(int64_t at_step, int at_replica) const {
  if (layer.empty() || at_step != step || at_replica != replica) return {};
  return [this](std::string_view name, std::string_view what, const Tensor&) {
    if (name == layer && what != "gradient") Strike();
  };
}

void Fault::Strike() const {
  switch (kind) {
    case Kind::kKill: std::raise(SIGKILL); break;
    case Kind::kThrow: throw Error(ErrorCode::kInternal, "a fault was asked for (--fault)");
    case Kind::kStall:
      while (true) std::this_thread::sleep_for(std::chrono::hours(1));
    default: break;
  }
}

}  // namespace syncbn::app
