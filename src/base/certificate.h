// Checks of certificates and keys in PEM files, so that what cannot work is said of the file, before
// a connection fails for it.
#pragma once

#include <filesystem>

#include "base/clock.h"

namespace syncbn {

// All throw what ReadFile throws, and INVALID_ARGUMENT that names file and fault.

// The file holds a certificate.
void CheckCertificate(const std::filesystem::path& certificate);
// The first certificate of the file has not expired at `now`.
void CheckNotExpired(const std::filesystem::path& certificate, WallTime now);
// The file holds a private key without a password, and it is that of the certificate.
void CheckKeyOf(const std::filesystem::path& certificate, const std::filesystem::path& key);

// The certificate is signed by one of `authorities`, if need be through others in its own file.
void CheckSignedBy(const std::filesystem::path& certificate,
                   const std::filesystem::path& authorities);

// When the first certificate of the file expires.
WallTime ExpiryOf(const std::filesystem::path& certificate);

}  // namespace syncbn
