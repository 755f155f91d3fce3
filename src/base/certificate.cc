#include "base/certificate.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace syncbn {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

[[noreturn]] void Fail(const std::filesystem::path& file, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, file.string() + ": " + what);
}

// A key with a password must not make a program wait for one.
int NoPassword(char*, int, int, void*) {
  return -1;
}

Certificate ReadCertificate(const std::filesystem::path& file) {
  const std::string text = ReadFile(file);
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr), X509_free);
  if (!certificate) Fail(file, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  return certificate;
}

Key ReadKey(const std::filesystem::path& file) {
  const std::string text = ReadFile(file);
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr), EVP_PKEY_free);
  if (!key) Fail(file, "holds no private key in PEM form without a password");
  return key;
}

}  // namespace

void CheckCertificate(const std::filesystem::path& certificate) {
  ReadCertificate(certificate);
}

WallTime ExpiryOf(const std::filesystem::path& certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(ReadCertificate(certificate).get()), &time) != 1) {
    Fail(certificate, "the certificate has no end of validity that can be read");
  }
  return WallTime(std::chrono::seconds(::timegm(&time)));
}

void CheckNotExpired(const std::filesystem::path& certificate, WallTime now) {
  const WallTime expiry = ExpiryOf(certificate);
  if (expiry <= now) Fail(certificate, "the certificate expired at " + FormatTime(expiry));
}

void CheckKeyOf(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  const Certificate first = ReadCertificate(certificate);
  if (X509_check_private_key(first.get(), ReadKey(key).get()) != 1) {
    Fail(key, "is not the key of the certificate " + certificate.string());
  }
}

}  // namespace syncbn
