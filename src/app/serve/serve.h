// The coordinator as a process: the wiring of store, controller, launcher and server.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/control/controller.h"
#include "coordinator/launch/kubernetes/kubernetes_launcher.h"
#include "coordinator/launch/slurm_commands.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/event_log.h"
#include "coordinator/service/ownership.h"
#include "coordinator/service/server.h"

namespace syncbn::app {

struct ServeOptions {
  std::filesystem::path data;
  coordinator::Server::Options server;
  // Port 0: a free one.
  std::string http = "127.0.0.1:7701";
  // "local", "hosts", "slurm" or "kubernetes"; empty: hosts with a hosts file, else local.
  std::string launcher;
  std::optional<std::filesystem::path> hosts_file;
  // Of this machine where there is no hosts file; 0: its cores.
  int slots = 0;
  // Empty: `output` in the data folder.
  std::filesystem::path output_root;
  std::vector<std::filesystem::path> data_roots;
  std::vector<std::string> allowed_variables;
  // Where workers reach this server; empty: the first address.
  std::string advertise;
  // Whom workers trust, with TLS.
  std::optional<std::filesystem::path> worker_ca;
  // What they show, with mutual TLS.
  std::optional<std::filesystem::path> worker_certificate, worker_key;
  // The first admin's token is written here, if there is none yet.
  std::optional<std::filesystem::path> admin_token_file;

  coordinator::JobPolicy job_policy;
  coordinator::HostPolicy host_policy;
  coordinator::RankMonitorPolicy monitor;
  coordinator::RetentionPolicy retention;
  coordinator::StopLadder::Times ladder;
  coordinator::SlurmSettings slurm;
  // Without a server: what a pod finds of its service account.
  coordinator::KubeAccess kube_access;
  coordinator::KubeJobSettings kube_job;
  std::optional<std::filesystem::path> kube_patch_file;
  coordinator::EventLog::Options log;
  double calls_per_second = 100;
  coordinator::OwnershipPolicy ownership;
  coordinator::SubmitterLimits submitter;
  std::chrono::milliseconds tick = std::chrono::milliseconds(200);
  std::chrono::milliseconds observe_every = std::chrono::milliseconds(500);
  int64_t max_log_bytes = 0;
};

// Serves until SIGTERM or SIGINT; jobs go on without it. Returns the exit code. To be called before
// any other thread is started.
int Serve(ServeOptions options);

}  // namespace syncbn::app
