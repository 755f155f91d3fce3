#include <charconv>
#include <memory>
#include <set>

#include "app/commands.h"
#include "app/console.h"
#include "app/serve/serve.h"
#include "base/certificate.h"
#include "base/error.h"
#include "coordinator/service/authenticator.h"

namespace syncbn::app {
namespace {

using std::chrono::microseconds;

struct Arguments {
  ServeOptions options;
  std::string tls_certificate, tls_key, tls_client_ca;
  std::string log_format = "text";
  std::vector<std::string> teams;  // names joined by commas
  std::vector<std::string> claims;  // of Kubernetes: NAME:PATH
  int64_t mib_per_user = ServeOptions().submitter.bytes >> 20;
};

// Blanks around a comma are no part of a name.
std::vector<std::string> NamesIn(const std::string& team) {
  std::vector<std::string> names = {""};
  for (const char c : team + ',') {
    if (c != ',') {
      if (c != ' ' || !names.back().empty()) names.back() += c;
      continue;
    }
    names.back().erase(names.back().find_last_not_of(' ') + 1);
    names.emplace_back();
  }
  names.pop_back();
  return names;
}

// A name that no token has would be a team of nobody, without a word.
std::string WhyNoTeam(const std::string& team) {
  const std::vector<std::string> names = NamesIn(team);
  for (const std::string& name : names) {
    if (name != "*" && !coordinator::IsTokenName(name))
      return "'" + name + "' cannot be the name of a token (1 to 63 letters, digits, . _ - @)";
  }
  const std::set<std::string> members(names.begin(), names.end());
  return members.size() > 1 || members.contains("*")
             ? ""
             : "a team has two names at least, joined by a comma: found only '" + names.front() + "'";
}

// An option of seconds, fractions allowed; the default is what the target holds.
Option AddSeconds(Command command, const std::string& name, microseconds* target,
                  const std::string& help) {
  const double now = std::chrono::duration<double>(*target).count();
  return command
      ->add_option_function(
          name,
          [target](double seconds) { *target = microseconds(static_cast<int64_t>(seconds * 1e6)); },
          help)
      ->type_name("SECONDS")
      // So that a script can add its own to those of a unit file.
      ->take_last()
      ->default_str(Format("%.15g", now))
      // Not CLI11's range, which lets "nan" pass.
      ->check([](const std::string& text) {
        double seconds = -1;
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, seconds);
        const bool good = error == std::errc() && rest == end && seconds >= 0 && seconds <= 1e9;
        return good ? std::string() : "expected seconds from 0 to 1e9, found " + text;
      });
}

void AddMain(Command command, ServeOptions& options) {
  command->add_option("--data", options.data, "the coordinator's folder: all it keeps is here")
      ->type_name("DIR")
      ->required();
  command
      ->add_option("--listen", options.server.addresses, "address of the API; port 0: a free one")
      ->type_name("HOST:PORT")
      ->allow_extra_args(false)
      ->capture_default_str();
  command
      ->add_option("--http", options.http,
                   "address of the dashboard, of health and Prometheus figures, or off")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  command->add_option("--hosts", options.hosts_file, "the machines, in YAML")->type_name("FILE");
  command
      ->add_option("--launcher", options.launcher,
                   "local, hosts, slurm or kubernetes\n(default: hosts with --hosts, else local)")
      ->is_member({"local", "hosts", "slurm", "kubernetes"});
  command
      ->add_option("--slots", options.slots,
                   "slots of this machine, with the launcher local (default: its cores)")
      ->type_name("N")
      ->range(1, 65536);
  command
      ->add_option("--output-root", options.output_root,
                   "jobs write below this folder (default: DIR/output)")
      ->type_name("DIR");
  command
      ->add_option("--data-root", options.data_roots,
                   "run files may read data below this folder; may be repeated\n"
                   "(default: the folder in which the coordinator is started)")
      ->type_name("DIR")
      ->existing_directory()
      ->allow_extra_args(false);
  command
      ->add_option("--allow-env", options.allowed_variables,
                   "a variable that jobs may set for their workers; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->check([](const std::string& name) {
        const bool plain = !name.empty() && name.find_first_not_of(
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                "abcdefghijklmnopqrstuvwxyz"
                                                "0123456789_") == std::string::npos;
        const bool own = name.starts_with("SYNCBN_") || name == "PATH" || name.starts_with("LD_") ||
                         name == "TMPDIR";
        return plain && !own ? std::string() : "'" + name + "' cannot be a variable of jobs";
      });
}

void AddSecurity(Command command, Arguments& arguments) {
  const char* group = "Security";
  ServeOptions& options = arguments.options;
  command->add_option("--tls-cert", arguments.tls_certificate, "the server's certificate, PEM")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--tls-key", arguments.tls_key, "its key, PEM")
      ->type_name("FILE")
      ->group(group);
  command
      ->add_option("--tls-client-ca", arguments.tls_client_ca,
                   "clients must show a certificate that this one signed")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--worker-ca", options.worker_ca, "what workers trust when TLS is on, PEM")
      ->type_name("FILE")
      ->group(group);
  command
      ->add_option("--worker-cert", options.worker_certificate,
                   "what workers show when clients must show a certificate, PEM")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--worker-key", options.worker_key, "its key, PEM")
      ->type_name("FILE")
      ->group(group);
  command
      ->add_flag("--allow-plaintext", options.server.allow_plaintext,
                 "listen without TLS beyond this machine: the network is trusted")
      ->group(group);
  command
      ->add_option("--admin-token-file", options.admin_token_file,
                   "write the first admin's token here, if there is no admin yet")
      ->type_name("FILE")
      ->group(group);
  command
      ->add_option("--connections", options.server.connections.all,
                   "open at a time (default: half of the files that may be open)")
      ->type_name("N")
      ->range(1, 65536)
      ->group(group);
  command
      ->add_option("--connections-per-address", options.server.connections.per_address,
                   "of one address, one /64 of IPv6, or one user at a unix socket\n"
                   "(default: half of all)")
      ->type_name("N")
      ->range(1, 65536)
      ->group(group);
  command
      ->add_option("--team", arguments.teams,
                   "submitters who may act on each other's jobs, or '*'; may be repeated")
      ->type_name("NAME,NAME")
      ->allow_extra_args(false)
      ->check(WhyNoTeam)
      ->group(group);
  command
      ->add_option("--jobs-per-user", options.submitter.open_jobs,
                   "jobs of a submitter that have not ended")
      ->type_name("N")
      ->range(1, 1000000)
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--studies-per-user", options.submitter.open_studies,
                   "studies of a submitter that have not ended")
      ->type_name("N")
      ->range(1, 1000)
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--mib-per-user", arguments.mib_per_user,
                   "of all that the store keeps of a user's jobs but their metrics and logs")
      ->type_name("MIB")
      ->range(1, 1 << 24)
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--calls-per-second", options.calls_per_second,
                   "of each user's token, on average")
      ->type_name("N")
      ->range(0.1, 1e6)
      ->capture_default_str()
      ->group(group);
}

// NAME:PATH
coordinator::KubeClaim ClaimIn(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == 0 || colon == std::string::npos || text.compare(colon + 1, 1, "/") != 0) return {};
  return {.name = text.substr(0, colon), .path = text.substr(colon + 1)};
}

void AddKubernetes(Command command, Arguments& arguments) {
  const char* group = "Kubernetes";
  ServeOptions& options = arguments.options;
  coordinator::KubeAccess& access = options.kube_access;
  coordinator::KubeJobSettings& job = options.kube_job;
  command
      ->add_option("--kube-image", job.image, "image in which jobs run, with syncbn and Open MPI")
      ->type_name("IMAGE")
      ->group(group);
  command
      ->add_option("--kube-claim", arguments.claims,
                   "a claim that pods mount at PATH, where this process has it, too; may be\n"
                   "repeated; one must hold --data")
      ->type_name("NAME:PATH")
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        return ClaimIn(text).name.empty() ? "expected NAME:/PATH, found " + text : std::string();
      })
      ->group(group);
  command
      ->add_option("--kube-processes", job.processes_per_pod,
                   "processes of a job in one pod, at most")
      ->type_name("N")
      ->range(1, 1024)
      ->capture_default_str()
      ->group(group);
  command->add_option("--kube-gpus", job.gpus_per_process, "nvidia.com/gpu of each process")
      ->type_name("N")
      ->range(0, 64)
      ->capture_default_str()
      ->group(group);
  command->add_option("--kube-queue", job.queue, "queue of Kueue's that lets MPIJobs begin")
      ->type_name("NAME")
      ->group(group);
  command
      ->add_option("--kube-patch", options.kube_patch_file,
                   "JSON that is merged into every MPIJob (RFC 7386): tolerations, labels")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--kube-program", job.program, "path of syncbn in the image")
      ->type_name("PATH")
      ->capture_default_str()
      ->group(group);
  command->add_option("--kube-namespace", access.name_space, "of jobs (default: that of this pod)")
      ->type_name("NAME")
      ->group(group);
  command
      ->add_option("--kube-api", access.server,
                   "API server, outside of the cluster (default: what this pod has)")
      ->type_name("URL")
      ->group(group);
  command
      ->add_option("--kube-token", access.token_file,
                   "bearer token for it; read again at every call")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--kube-ca", access.ca_file, "whom to trust there, PEM")
      ->type_name("FILE")
      ->group(group);
}

void AddAdvanced(Command command, Arguments& arguments) {
  ServeOptions& options = arguments.options;
  coordinator::JobPolicy& policy = options.job_policy;
  auto seconds = [&](const char* name, microseconds* target, const char* help) {
    AddSeconds(command, name, target, help)->group("Advanced");
  };
  seconds("--heartbeat", &options.monitor.heartbeat_interval, "between two reports of a worker");
  seconds("--stale-after", &options.monitor.stale_after, "without a report of a rank");
  seconds("--unreachable-after", &options.monitor.unreachable_after, "without one of any rank");
  seconds("--stall-after", &options.monitor.stall_after, "without progress a job is restarted");
  seconds("--start-limit", &policy.start_limit, "until all ranks must have registered");
  seconds("--silence-limit", &policy.silence_limit, "unheard for so long a job is restarted");
  seconds("--queue-limit", &policy.queue_limit, "the longest wait in the queue");
  seconds("--pause-limit", &policy.pause_limit,
          "the longest pause, but of jobs whose study is paused");
  seconds("--force-limit", &policy.force_limit, "for force, until an attempt is given up");
  seconds("--backoff", &policy.first_backoff, "before the first restart; doubles with each");
  seconds("--longest-backoff", &policy.last_backoff, "up to this");
  seconds("--ask-time", &options.ladder.ask, "to leave when asked, before SIGUSR1");
  seconds("--checkpoint-time", &options.ladder.checkpoint, "from there to SIGTERM");
  seconds("--terminate-time", &options.ladder.terminate, "from there to ending mpirun");
  seconds("--launcher-time", &options.ladder.launcher, "from there to SIGKILL");
  seconds("--host-exclusion", &options.host_policy.exclusion, "of a host that keeps failing");
  seconds("--keep-batches", &options.retention.batches, "for watches of metrics to go on");
  command
      ->add_option("--max-retries", policy.max_retries, "restarts of a job that says nothing else")
      ->range(0, 1000)
      ->type_name("N")
      ->capture_default_str()
      ->group("Advanced");
  command
      ->add_option("--host-failures", options.host_policy.failures,
                   "failed attempts in an hour that exclude a host")
      ->range(1, 1000)
      ->type_name("N")
      ->capture_default_str()
      ->group("Advanced");
  const auto keep = [&](const char* name, std::optional<microseconds>* target, const char* help) {
    command
        ->add_option_function(
            name,
            [target](double days) { *target = microseconds(static_cast<int64_t>(days * 86400e6)); },
            help)
        ->type_name("DAYS")
        ->range(0.0, 1e5)
        ->group("Advanced");
  };
  keep("--keep-jobs", &options.retention.ended_jobs,
       "forget jobs that ended so long ago, but of studies that have not ended\n(default: never)");
  keep("--keep-studies", &options.retention.ended_studies,
       "forget studies that ended so long ago, with their results\n(default: never)");
  command
      ->add_option("--advertise", options.advertise,
                   "where workers reach this server (default: the first --listen)")
      ->type_name("HOST:PORT")
      ->group("Advanced");
  command->add_option("--slurm-partition", options.slurm.partition, "for jobs, with slurm")
      ->group("Advanced");
  command->add_option("--slurm-option", options.slurm.extra, "for sbatch; may be repeated")
      ->allow_extra_args(false)
      ->group("Advanced");
  command
      ->add_flag("--slurm-mpirun", options.slurm.use_mpirun,
                 "start ranks by mpirun, not by srun, in an allocation")
      ->group("Advanced");
  command->add_option("--log-format", arguments.log_format, "text or json")
      ->is_member({"text", "json"})
      ->capture_default_str()
      ->group("Advanced");
  command->add_option("--log-file", options.log.path, "instead of standard error")
      ->type_name("FILE")
      ->group("Advanced");
}

void Complete(Arguments& arguments) {
  ServeOptions& options = arguments.options;
  if (arguments.tls_certificate.empty() != arguments.tls_key.empty())
    throw Error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key go together");
  if (!arguments.tls_certificate.empty()) {
    options.server.tls =
        coordinator::TlsFiles{.certificate = arguments.tls_certificate, .key = arguments.tls_key};
    // Otherwise every job would run unheard.
    if (!options.worker_ca) {
      throw Error(
          ErrorCode::kInvalidArgument,
          "with TLS, workers must know whom to trust: --worker-ca FILE (the authority that signed "
          "--tls-cert; its path must be the same on all hosts)");
    }
    CheckSignedBy(arguments.tls_certificate, *options.worker_ca);
    if (!arguments.tls_client_ca.empty()) {
      options.server.tls->client_ca = arguments.tls_client_ca;
      if (!options.worker_certificate || !options.worker_key) {
        throw Error(
            ErrorCode::kInvalidArgument,
            "with --tls-client-ca workers need a certificate too: --worker-cert and --worker-key");
      }
    }
  } else if (!arguments.tls_client_ca.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "--tls-client-ca needs --tls-cert and --tls-key");
  }
  for (const std::string& claim : arguments.claims)
    options.kube_job.claims.push_back(ClaimIn(claim));
  for (const std::string& team : arguments.teams) options.ownership.teams.push_back(NamesIn(team));
  options.submitter.bytes = arguments.mib_per_user << 20;
  if (arguments.log_format == "json") options.log.format = coordinator::EventLog::Format::kJson;
}

}  // namespace

void AddServeCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "serve", "Run the coordinator: takes jobs, starts them, keeps what they report");
  command->footer(
      "SIGTERM or Ctrl-C ends the coordinator; jobs go on, and the next `syncbn serve` on the "
      "same\n"
      "folder takes them over.\n"
      "Variables OMPI_MCA_*, PMIX_*, PRTE_*, UCX_* and NCCL_* of the coordinator go to mpirun and to the\n"
      "ranks of every job.\n\n"
      "  syncbn serve --data /var/lib/syncbn --data-root /data");
  AddMain(command, arguments->options);
  AddSecurity(command, *arguments);
  AddKubernetes(command, *arguments);
  AddAdvanced(command, *arguments);
  command->callback([arguments, &line] {
    Complete(*arguments);
    line.exit_code = Serve(arguments->options);
  });
}

}  // namespace syncbn::app
