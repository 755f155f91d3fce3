#include "coordinator/service/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <string>

#include "base/certificate.h"

namespace syncbn::coordinator {

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(const TlsFiles& files,
                                                            const Clock& clock) {
  CheckKeyOf(files.certificate, files.key);
  CheckNotExpired(files.certificate, clock.Now());
  if (files.client_ca) CheckNotExpired(*files.client_ca, clock.Now());
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
