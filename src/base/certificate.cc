#include "base/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/bounded_file.h"
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
  const std::string text = ReadFileUpTo(file, 1 << 20, "a certificate or a key");
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr), X509_free);
  if (!certificate) Fail(file, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  return certificate;
}

// All of the file, at least one.
std::vector<Certificate> ReadCertificates(const std::filesystem::path& file) {
  std::vector<Certificate> certificates;
  certificates.push_back(ReadCertificate(file));
  const std::string text = ReadFileUpTo(file, 1 << 20, "a certificate or a key");
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  X509_free(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));  // the first
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr))
    certificates.emplace_back(next, X509_free);
  ERR_clear_error();
  return certificates;
}

Key ReadKey(const std::filesystem::path& file) {
  const std::string text = ReadFileUpTo(file, 1 << 20, "a certificate or a key");
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

void CheckSignedBy(const std::filesystem::path& certificate,
                   const std::filesystem::path& authorities) {
  const std::vector<Certificate> chain = ReadCertificates(certificate);
  const std::vector<Certificate> trusted = ReadCertificates(authorities);
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                      X509_STORE_free);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(
      X509_STORE_CTX_new(), X509_STORE_CTX_free);
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> others(
      sk_X509_new_null(), [](STACK_OF(X509)* stack) { sk_X509_free(stack); });
  for (const Certificate& one : trusted) X509_STORE_add_cert(store.get(), one.get());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(others.get(), chain[i].get());
  X509_STORE_CTX_init(context.get(), store.get(), chain[0].get(), others.get());
  // An authority need not be a root, and whether something has expired is asked elsewhere.
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(context.get()) == 1) return;
  Fail(certificate, "is not signed by the authority in " + authorities.string() + " (" +
                        X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())) + ")");
}

void CheckKeyOf(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  const Certificate first = ReadCertificate(certificate);
  if (X509_check_private_key(first.get(), ReadKey(key).get()) != 1) {
    Fail(key, "is not the key of the certificate " + certificate.string());
  }
}

}  // namespace syncbn
