#include "backend/cpu/dnnl_session.h"

#include <omp.h>

#include <string>
#include <utility>

#include "base/check.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cpu {

DnnlSession::DnnlSession(dnnl::engine engine) : engine_(std::move(engine)), stream_(engine_) {}

void DnnlSession::Begin() {
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
}

dnnl::primitive_attr DnnlSession::Attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attributes;
}

void DnnlSession::Run(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
                      PrimitiveArguments& arguments) {
  const size_t bytes = scratchpad.get_size();
  const Guard guard = bytes > 0 ? Scratch(bytes, scratchpad, arguments) : Guard{};
  primitive.execute(stream_, arguments);
  stream_.wait();
  SYNCBN_CHECK(guard.IsWhole()) << "oneDNN has written beyond its scratchpad of " << bytes << " bytes";
}

DnnlSession::Guard DnnlSession::Scratch(size_t bytes, const dnnl::memory::desc& scratchpad,
                                        PrimitiveArguments& arguments) {
  // Beyond the guard there is more that nobody else has, so that a fault is told and does no harm before.
  constexpr size_t kSpare = 4096;
  auto* const scratch = static_cast<std::byte*>(scratch_.AtLeast(bytes + kSpare));
  auto [where, fresh] = arguments.try_emplace(DNNL_ARG_SCRATCHPAD);
  if (fresh) {
    where->second = dnnl::memory(scratchpad, engine_, scratch);
  } else {
    where->second.set_data_handle(scratch);
  }
  return Guard(scratch + bytes);
}

void* DnnlSession::Temporary(size_t bytes) {
  return temporary_.AtLeast(bytes);
}

void* DnnlSession::Buffer::AtLeast(size_t wanted) {
  if (wanted > bytes) {
    memory = nullptr;
    bytes = 0;
    memory = AllocateAligned(wanted);
    bytes = wanted;
  }
  return memory.get();
}

std::string DnnlDescription() {
  const auto* version = dnnl::version();
  std::string isa;
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      isa = "SSE41";
      break;
    case dnnl::cpu_isa::avx:
      isa = "AVX";
      break;
    case dnnl::cpu_isa::avx2:
      isa = "AVX2";
      break;
    case dnnl::cpu_isa::avx2_vnni:
      isa = "AVX2_VNNI";
      break;
    case dnnl::cpu_isa::avx512_core:
      isa = "AVX512_CORE";
      break;
    case dnnl::cpu_isa::avx512_core_vnni:
      isa = "AVX512_CORE_VNNI";
      break;
    case dnnl::cpu_isa::avx512_core_bf16:
      isa = "AVX512_CORE_BF16";
      break;
    case dnnl::cpu_isa::avx512_core_amx:
      isa = "AVX512_CORE_AMX";
      break;
    default:
      isa = "ISA " + std::to_string(static_cast<int>(dnnl::get_effective_cpu_isa()));
  }
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch) + ", " + isa;
}

}  // namespace syncbn::backend::cpu
