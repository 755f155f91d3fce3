#include "tests/emulation/fiber.h"

#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace syncbn::emulation {
namespace {

// One side of a switch between two stacks, as the sanitizers want to know it.
class Side {
 public:
#ifdef __SANITIZE_ADDRESS__
  void Leave(const Side& to) {
    __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
  }
  // `from` is learned the first time: the stack of a thread is not known otherwise.
  void Arrive(Side* from) {
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
    if (from != nullptr) from->SetStack(bottom, size);
  }
  void SetStack(const void* bottom, size_t size) {
    bottom_ = bottom;
    size_ = size;
  }

 private:
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
#elif defined(__SANITIZE_THREAD__)
  void Leave(const Side& to) {
    __tsan_switch_to_fiber(to.fiber, 0);
  }
  void Arrive(Side*) {}
  void SetStack(const void*, size_t) {}
  void* fiber = nullptr;
#else
  void Leave(const Side&) {}
  void Arrive(Side*) {}
  void SetStack(const void*, size_t) {}
#endif
};

constexpr size_t kStackBytes = size_t{128} << 10;

}  // namespace

class Fiber::Context {
 public:
  Context() {
    boost::context::fixedsize_stack allocator(kStackBytes);
    boost::context::stack_context stack = allocator.allocate();
    inside_.SetStack(static_cast<const char*>(stack.sp) - stack.size, stack.size);
#ifdef __SANITIZE_THREAD__
    inside_.fiber = __tsan_create_fiber(0);
#endif
    fiber_ = boost::context::fiber(std::allocator_arg,
                                   boost::context::preallocated(stack.sp, stack.size, stack),
                                   allocator, [this](boost::context::fiber&& caller) {
                                     inside_.Arrive(&outside_);
                                     caller_ = std::move(caller);
                                     while (function_) {
                                       function_();
                                       over_ = true;
                                       SwitchOut();
                                     }
                                     inside_.Leave(outside_);
                                     return std::move(caller_);
                                   });
  }
  ~Context() {
    function_ = nullptr;
    SwitchIn();  // it sees that there is nothing more, and ends
#ifdef __SANITIZE_THREAD__
    __tsan_destroy_fiber(inside_.fiber);
#endif
  }

  void SwitchIn() {
#ifdef __SANITIZE_THREAD__
    outside_.fiber = __tsan_get_current_fiber();
#endif
    outside_.Leave(inside_);
    fiber_ = std::move(fiber_).resume();
    outside_.Arrive(nullptr);
  }
  void SwitchOut() {
    inside_.Leave(outside_);
    caller_ = std::move(caller_).resume();
    inside_.Arrive(&outside_);
  }

  std::function<void()> function_;
  bool over_ = true;

 private:
  boost::context::fiber fiber_, caller_;
  Side inside_, outside_;
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {}
Fiber::~Fiber() = default;

void Fiber::Begin(const std::function<void()>& function) {
  context_->function_ = function;
  context_->over_ = false;
}

bool Fiber::Resume() {
  context_->SwitchIn();
  return context_->over_;
}

void Fiber::GiveWay() {
  context_->SwitchOut();
}

}  // namespace syncbn::emulation
