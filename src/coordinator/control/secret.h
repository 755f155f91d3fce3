// Secrets that are shown once and stored only as a hash.
#pragma once

#include <string>
#include <string_view>

namespace syncbn::coordinator {

// 64 hexadecimal digits from the kernel's random numbers.
std::string NewSecret();

// SHA-256, 32 bytes. A secret of 256 random bits needs no salt and no slow hash.
std::string HashSecret(std::string_view secret);

// Takes the same time wherever they differ.
bool SecretsEqual(std::string_view a, std::string_view b);

}  // namespace syncbn::coordinator
