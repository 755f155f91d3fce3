#include "coordinator/service/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::coordinator {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

[[noreturn]] void Fail(const std::filesystem::path& file, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, file.string() + ": " + what);
}

// A key with a password must not make a server without a terminal wait for one.
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

WallTime ExpiryOf(const X509& certificate, const std::filesystem::path& file) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time) != 1) {
    Fail(file, "the certificate has no end of validity that can be read");
  }
  return WallTime(std::chrono::seconds(::timegm(&time)));
}

void CheckNotExpired(const X509& certificate, const std::filesystem::path& file, WallTime now) {
  const WallTime expiry = ExpiryOf(certificate, file);
  if (expiry <= now) Fail(file, "the certificate expired at " + FormatTime(expiry));
}

}  // namespace

WallTime ExpiryOf(const std::filesystem::path& certificate) {
  return ExpiryOf(*ReadCertificate(certificate), certificate);
}

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(const TlsFiles& files,
                                                            const Clock& clock) {
  const Certificate certificate = ReadCertificate(files.certificate);
  const Key key = ReadKey(files.key);
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    Fail(files.key, "is not the key of the certificate " + files.certificate.string());
  }
  CheckNotExpired(*certificate, files.certificate, clock.Now());
  if (files.client_ca) {
    CheckNotExpired(*ReadCertificate(*files.client_ca), *files.client_ca, clock.Now());
  }
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      files.key.string(), files.certificate.string(),
      files.client_ca ? files.client_ca->string() : std::string(),
      static_cast<unsigned int>(files.reload_every.count()));
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  options.set_check_call_host(false);
  if (files.client_ca) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  } else {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace syncbn::coordinator
