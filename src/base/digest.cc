#include "base/digest.h"

#include <xxhash.h>

#include <charconv>
#include <cstdio>

#include "base/error.h"

namespace syncbn {

std::string Digest::Hex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

Digest Digest::FromHex(std::string_view text) {
  Digest digest;
  auto parse = [&](std::string_view part, uint64_t& value) {
    auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
    return code == std::errc() && end == part.data() + part.size();
  };
  if (text.size() != 32 || !parse(text.substr(0, 16), digest.high) ||
      !parse(text.substr(16), digest.low)) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + std::string(text) + "' is not a digest (32 hexadecimal digits)");
  }
  return digest;
}

Digest DigestOf(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

struct Digester::State {
  State() : xxh(XXH3_createState()) { XXH3_128bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
  XXH3_state_t* xxh;
};

Digester::Digester() : state_(std::make_unique<State>()) {}
Digester::~Digester() = default;
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;

void Digester::Add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

void Digester::Add(std::string_view text) {
  Add(std::as_bytes(std::span(text.data(), text.size())));
}

Digest Digester::Finish() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh);
  return {hash.high64, hash.low64};
}

}  // namespace syncbn
