// ClusterService over the controller and the store (syncbn/v1/cluster.proto is the contract).
// Thread-safe.
#pragma once

#include <mutex>

#include "coordinator/control/controller.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/ownership.h"
#include "syncbn/v1/cluster.grpc.pb.h"

namespace syncbn::coordinator {

class ClusterService final : public v1::ClusterService::Service {
 public:
  struct Options {
    Store* store = nullptr;
    Controller* controller = nullptr;
    CallGate* gate = nullptr;
    OwnershipPolicy ownership;
    // What GetServer says and does not look up.
    std::string version;
    std::string launcher;
    int64_t max_message_bytes = 0;
    int64_t max_run_file_bytes = 0;
    const Clock* clock = &Clock::System();
  };

  explicit ClusterService(Options options);

  grpc::Status ListHosts(grpc::ServerContext* context, const v1::ListHostsRequest* request,
                         v1::ListHostsResponse* response) override;
  grpc::Status DrainHost(grpc::ServerContext* context, const v1::DrainHostRequest* request,
                         v1::Host* response) override;
  grpc::Status RestoreHost(grpc::ServerContext* context, const v1::RestoreHostRequest* request,
                           v1::Host* response) override;
  grpc::Status GetQueue(grpc::ServerContext* context, const v1::GetQueueRequest* request,
                        v1::Queue* response) override;
  grpc::Status GetServer(grpc::ServerContext* context, const v1::GetServerRequest* request,
                         v1::Server* response) override;
  grpc::Status BackUpStore(grpc::ServerContext* context, const v1::BackUpStoreRequest* request,
                           v1::BackUpStoreResponse* response) override;

 private:
  Options options_;
  WallTime start_time_;
  // One backup at a time: each is a whole copy.
  std::mutex backup_;
};

}  // namespace syncbn::coordinator
