// Digests of bytes: equal digests mean equal bits, for comparing runs (XXH3, 128 bits; not
// cryptographic).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace syncbn {

struct Digest {
  uint64_t high = 0;
  uint64_t low = 0;

  bool operator==(const Digest&) const = default;
  // 32 lower-case hexadecimal digits.
  std::string Hex() const;
  // The inverse of Hex; throws INVALID_ARGUMENT.
  static Digest FromHex(std::string_view text);
};

Digest DigestOf(std::span<const std::byte> bytes);

// Incremental form: the digest of the concatenation of all that was added.
class Digester {
 public:
  Digester();
  ~Digester();
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;

  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view text);
  Digest Finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncbn
