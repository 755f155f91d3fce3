#include "coordinator/service/cluster_service.h"

#include <algorithm>

#include "base/utf8.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/service/page_request.h"
#include "coordinator/service/request_info.h"
#include "coordinator/service/submission.h"

namespace syncbn::coordinator {
namespace {

constexpr std::string_view kHosts = "hosts/";
constexpr size_t kMostText = 4096;

std::string ParseHostName(const std::string& name) {
  if (name.starts_with(kHosts) && name.size() > kHosts.size()) return name.substr(kHosts.size());
  ThrowFieldInvalid(
      "name", "'" + name.substr(0, 80) + "' is not the name of a host; they look like hosts/node1");
}

v1::Host HostToProto(const Controller::HostView& view, Moment now) {
  v1::Host host;
  host.set_name(std::string(kHosts) + view.capacity.name);
  host.set_slots(view.capacity.slots);
  host.set_used_slots(view.used_slots);
  host.set_memory_mib(view.capacity.memory_mib);
  host.set_used_memory_mib(view.used_memory_mib);
  host.mutable_tags()->Add(view.capacity.tags.begin(), view.capacity.tags.end());
  for (const Controller::HostView::Use& use : view.uses) {
    v1::HostUse& one = *host.add_uses();
    one.set_job(JobName(use.job));
    one.set_processes(use.processes);
    one.set_slots(use.slots);
  }
  const HostHealth& health = view.health;
  host.set_recent_failures(static_cast<int>(health.failures.size()));
  if (!health.failures.empty())
    host.set_last_failure(Utf8Beginning(health.failures.back().message, kMostText));
  host.set_state(v1::Host::READY);
  if (IsUsable(health, now.durable)) return host;
  host.set_state(health.drained ? v1::Host::DRAINED : v1::Host::EXCLUDED);
  host.set_reason(Utf8Beginning(health.reason, kMostText));
  if (health.excluded_until)
    *host.mutable_excluded_until() = ToProto(now.WallAt(*health.excluded_until));
  return host;
}

int64_t StoreBytes(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  for (const char* name : {"store.db", "store.db-wal"}) {
    std::error_code error;
    const auto size = std::filesystem::file_size(folder / name, error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace

ClusterService::ClusterService(Options options)
    : options_(std::move(options)), start_time_(options_.clock->Now()) {}

grpc::Status ClusterService::ListHosts(grpc::ServerContext* context,
                                       const v1::ListHostsRequest* request,
                                       v1::ListHostsResponse* response) {
  return options_.gate->Run(*context, "ClusterService/ListHosts", request, [&](Call&) {
    const PageRequest page = ParsePage(request->page_size(), request->page_token());
    const std::vector<Controller::HostView> hosts = options_.controller->Hosts();
    // The list is that of a file which is read at the start: a place in it stays what it is.
    size_t at = 0;
    if (!page.after.empty()) {
      const auto last = std::ranges::find(
          hosts, page.after, [](const Controller::HostView& view) { return view.capacity.name; });
      if (last == hosts.end()) ThrowPageToken(request->page_token());
      at = static_cast<size_t>(last - hosts.begin()) + 1;
    }
    for (int64_t bytes = 0; at < hosts.size(); ++at) {
      if (response->hosts_size() == page.size || bytes > kMostAnswer) {
        response->set_next_page_token(hosts[at - 1].capacity.name);
        return;
      }
      *response->add_hosts() = HostToProto(hosts[at], options_.controller->Now());
      bytes += static_cast<int64_t>(response->hosts(response->hosts_size() - 1).ByteSizeLong());
    }
  });
}

grpc::Status ClusterService::DrainHost(grpc::ServerContext* context,
                                       const v1::DrainHostRequest* request, v1::Host* response) {
  constexpr std::string_view kMethod = "ClusterService/DrainHost";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    CheckText("reason", request->reason(), 1024);
    const std::string reason =
        request->reason().empty() ? "by " + call.caller().name : request->reason();
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    *response = HostToProto(
        options_.controller->SetDrained(ParseHostName(request->name()), true, reason, info),
        options_.controller->Now());
  });
}

grpc::Status ClusterService::RestoreHost(grpc::ServerContext* context,
                                         const v1::RestoreHostRequest* request,
                                         v1::Host* response) {
  constexpr std::string_view kMethod = "ClusterService/RestoreHost";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    *response = HostToProto(
        options_.controller->SetDrained(ParseHostName(request->name()), false, "", info),
        options_.controller->Now());
  });
}

grpc::Status ClusterService::GetQueue(grpc::ServerContext* context,
                                      const v1::GetQueueRequest* request, v1::Queue* response) {
  return options_.gate->Run(*context, "ClusterService/GetQueue", request, [&](Call&) {
    for (const Controller::HostView& view : options_.controller->Hosts()) {
      response->set_slots(response->slots() + view.capacity.slots);
      if (!view.capacity.unusable.empty()) continue;
      response->set_free_slots(response->free_slots() +
                               std::max(0, view.capacity.slots - view.used_slots));
    }
    const std::vector<Schedule::Wait> waits = options_.controller->Queue();
    options_.store->Read([&](Tables& tables) {
      int64_t bytes = 0;
      for (const Schedule::Wait& wait : waits) {
        if (bytes > kMostAnswer) {
          response->set_left_out(response->left_out() + 1);
          continue;
        }
        const JobRecord record = tables.jobs.Get(wait.job);
        // Started, cancelled or paused since.
        if (record.status.state != JobState::kQueued) continue;
        v1::QueueEntry& entry = *response->add_entries();
        entry.set_job(JobName(wait.job));
        entry.set_display_name(record.spec.display_name());
        entry.set_priority(record.spec.resources().priority());
        *entry.mutable_pending() = ToProto(wait.reason, options_.controller->Now());
        *entry.mutable_queue_time() = ToProto(record.status.since);
        bytes += static_cast<int64_t>(entry.ByteSizeLong());
      }
    });
  });
}

grpc::Status ClusterService::GetServer(grpc::ServerContext* context,
                                       const v1::GetServerRequest* request, v1::Server* response) {
  return options_.gate->Run(*context, "ClusterService/GetServer", request, [&](Call& call) {
    response->set_version(options_.version);
    response->set_launcher(options_.launcher);
    *response->mutable_start_time() = ToProto(start_time_);
    response->set_max_message_bytes(options_.max_message_bytes);
    response->set_max_run_file_bytes(options_.max_run_file_bytes);
    options_.store->Read([&](Tables& tables) {
      response->set_jobs(tables.jobs.Count());
      response->set_metric_points(tables.metrics.CountPoints());
    });
    response->set_store_bytes(StoreBytes(options_.store->folder()));
    const Caller& caller = call.caller();
    response->set_caller(caller.name);
    response->set_caller_role(std::string(RoleName(caller.role)));
    for (const std::string& name : TeammatesOf(caller, options_.ownership))
      response->add_caller_teammates(name);
  });
}

grpc::Status ClusterService::BackUpStore(grpc::ServerContext* context,
                                         const v1::BackUpStoreRequest* request,
                                         v1::BackUpStoreResponse* response) {
  constexpr std::string_view kMethod = "ClusterService/BackUpStore";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info =
        RequestInfoOf(call.caller(), kMethod, request->request_id(), *request, false);
    std::lock_guard lock(backup_);
    if (const std::optional<std::string> answer = options_.store->Answered(info.key)) {
      response->ParseFromString(*answer);
      return;
    }
    const std::filesystem::path path =
        BackupFile(options_.store->folder(), "store", options_.clock->Now());
    options_.store->BackUp(path);
    response->set_path(path.string());
    response->set_bytes(static_cast<int64_t>(std::filesystem::file_size(path)));
    options_.store->Mutate(info.key, options_.clock->Now(),
                           [&](Tables&) { return response->SerializeAsString(); });
  });
}

}  // namespace syncbn::coordinator
