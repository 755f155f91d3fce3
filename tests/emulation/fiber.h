// A function with a stack of its own, which gives way and goes on. Sanitizers are told of the
// stacks.
#pragma once

#include <functional>
#include <memory>

namespace syncbn::emulation {

// Confined to the thread that made it.
class Fiber {
 public:
  Fiber();
  ~Fiber();  // the function it was given must have returned
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // What the next Resume begins. The function before it must have returned. It throws nothing.
  void Begin(const std::function<void()>& function);
  // Runs until the function gives way or returns; true: it has returned.
  bool Resume();
  // In the function: back to who called Resume.
  void GiveWay();

 private:
  class Context;
  const std::unique_ptr<Context> context_;
};

}  // namespace syncbn::emulation
