// What people see of the coordinator in a browser: its pages, the API that they call (gateway.h),
// and reports of studies (report_desk.h).
//
// A page shows its token in the header `authorization`, never in a cookie: cookies go to every port
// of a host, also to other users' programs, and with requests that other sites have a browser make.
// So nothing is believed of a request because of the browser it comes from, but where there are no
// tokens and everybody on this machine is "local" (authenticator.h): then a request must come from
// this machine, by one of its own names, and from a page of the same origin.
//
// Thread-safe.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "coordinator/service/authenticator.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/web/asset_server.h"
#include "coordinator/web/gateway.h"
#include "coordinator/web/report_desk.h"

namespace syncbn::coordinator {

class Dashboard {
 public:
  struct Options {
    // To the server of this process.
    std::shared_ptr<grpc::Channel> channel;
    // Outlives the dashboard.
    Authenticator* authenticator = nullptr;
    // Pages come by TLS only.
    bool tls = false;
    // Why there is no dashboard; empty: there is one.
    std::string why_closed;
    // Whoever calls from this machine without a token may be "local".
    bool allow_local = false;
    // Of the program, for reports.
    std::string version = {};
    // A study that has more has no report here.
    size_t most_result_bytes = size_t{64} << 20;
  };

  explicit Dashboard(const Options& options)
      : options_(options),
        gateway_(options.channel),
        reports_(std::make_unique<ReportDesk>(
            ReportDesk::Options{.channel = options.channel,
                                .version = options.version,
                                .most_result_bytes = options.most_result_bytes})) {}

  // An HttpHandler (http_server.h).
  void Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const;

 private:
  // Pages, the files of pages, and reports of studies.
  HttpAnswer AnswerPage(const HttpRequest& request) const;
  // Throws what refuses a call before anybody looks into it.
  void CheckCall(const HttpRequest& request) const;
  // Whether the server knows the caller.
  bool IsKnown(const HttpRequest& request) const;

  Options options_;
  AssetServer assets_;
  Gateway gateway_;
  const std::unique_ptr<ReportDesk> reports_;
};

}  // namespace syncbn::coordinator
