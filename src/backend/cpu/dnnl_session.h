// What oneDNN primitives of one executor share: engine, stream and scratch memory.
//
// oneDNN's bits depend on the number of threads with which a primitive is created and executed, and
// that number is a property of the calling thread: every operation goes through Begin. Primitives
// get their scratch memory from here, never from the library, whose own is not safe when primitives
// that look alike run on several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace syncbn::backend::cpu {

using PrimitiveArguments = std::unordered_map<int, dnnl::memory>;

class DnnlSession {
 public:
  explicit DnnlSession(dnnl::engine engine);

  const dnnl::engine& engine() const { return engine_; }

  // To be called on the executing thread before primitives are created or run.
  static void Begin();
  // Scratch memory handed in by the caller, float32 arithmetic whatever the environment says.
  static dnnl::primitive_attr Attributes();

  // Memory until the next call, for a result on its way to another layout.
  void* Temporary(size_t bytes);

  // Runs the primitive with scratch memory for `scratchpad` (a descriptor of the primitive) and
  // waits. Throws INTERNAL where it has written beyond that.
  void Run(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
           PrimitiveArguments& arguments);

 private:
  // Bytes behind a scratchpad that must stay as they are: a library that asked for too little would write over
  // somebody else's memory otherwise, and the run would end anywhere but there.
  class Guard {
   public:
    Guard() = default;
    explicit Guard(std::byte* at) : at_(at) { std::memset(at, kByte, kBytes); }
    bool IsWhole() const {
      constexpr auto kIsOne = [](std::byte byte) { return byte == std::byte{kByte}; };
      return at_ == nullptr || std::all_of(at_, at_ + kBytes, kIsOne);
    }

   private:
    static constexpr size_t kBytes = 64;
    static constexpr int kByte = 0xA5;
    std::byte* at_ = nullptr;
  };
  Guard Scratch(size_t bytes, const dnnl::memory::desc& scratchpad, PrimitiveArguments& arguments);

  dnnl::engine engine_;
  dnnl::stream stream_;
  struct Buffer {
    std::shared_ptr<void> memory;
    size_t bytes = 0;
    void* AtLeast(size_t wanted);
  };
  Buffer scratch_, temporary_;
};

// Calls body(); an error of oneDNN becomes an Error that says what was being made or run.
template <typename Describe, typename Body>
decltype(auto) WithDnnlErrors(Describe describe, Body body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    const bool missing = error.status == dnnl_unimplemented;
    throw Error(missing ? ErrorCode::kUnimplemented : ErrorCode::kInternal,
                "oneDNN: " + std::string(error.what()) + ", " + describe());
  }
}

// "oneDNN 2.6.3, AVX512_CORE_AMX"
std::string DnnlDescription();

}  // namespace syncbn::backend::cpu
