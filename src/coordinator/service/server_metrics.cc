#include "coordinator/service/server_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <filesystem>

#include "coordinator/job/failure.h"
#include "coordinator/store/store.h"

namespace syncbn::coordinator {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// From a fast read to a slow write, in seconds.
const prometheus::Histogram::BucketBoundaries kLatencies = {0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                            0.025,  0.05,  0.1,    0.25,  0.5,
                                                            1,      2.5,   5,      10};

// A family of figures that are looked up now.
class Looked {
 public:
  Looked(std::string name, std::string help, MetricType type) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }
  void Add(std::vector<ClientMetric::Label> labels, double value) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }
  MetricFamily Take() { return std::move(family_); }

 private:
  MetricFamily family_;
};

MetricFamily One(std::string name, std::string help, double value,
                 MetricType type = MetricType::Gauge) {
  Looked looked(std::move(name), std::move(help), type);
  looked.Add({}, value);
  return looked.Take();
}

void LookAtStore(Store& store, std::vector<MetricFamily>& families) {
  std::map<int, int64_t> states, classes;
  int64_t attempts = 0;
  store.Read([&](Tables& tables) {
    Rows by_state = tables.database.Query("SELECT state, count(*) FROM jobs GROUP BY state");
    while (by_state.Next()) states[static_cast<int>(by_state.Int(0))] = by_state.Int(1);
    Rows by_class = tables.database.Query(
        "SELECT failure_class, count(*) FROM jobs WHERE failure_class != 0 GROUP BY failure_class");
    while (by_class.Next()) classes[static_cast<int>(by_class.Int(0))] = by_class.Int(1);
    Rows count = tables.database.Query("SELECT count(*) FROM attempts");
    if (count.Next()) attempts = count.Int(0);
  });
  // Every state is there, also with 0: an alert can rely on it.
  Looked jobs("syncbn_jobs", "Jobs in the store by state", MetricType::Gauge);
  for (int state = v1::Job::QUEUED; state <= v1::Job::CANCELLED; ++state) {
    jobs.Add({{"state", v1::Job::State_Name(static_cast<v1::Job::State>(state))}},
             static_cast<double>(states[state]));
  }
  families.push_back(jobs.Take());
  Looked failures("syncbn_jobs_with_failure",
                  "Jobs in the store whose last attempt that failed did so for this class",
                  MetricType::Gauge);
  for (int one = v1::Failure::CONFIG; one <= v1::Failure::Class_MAX; ++one) {
    failures.Add({{"class", v1::Failure::Class_Name(static_cast<v1::Failure::Class>(one))}},
                 static_cast<double>(classes[one]));
  }
  families.push_back(failures.Take());
  families.push_back(
      One("syncbn_attempts", "Attempts in the store", static_cast<double>(attempts)));

  Looked bytes("syncbn_store_bytes", "Size of the store's files", MetricType::Gauge);
  for (const auto& [label, name] :
       {std::pair("database", "store.db"), std::pair("log", "store.db-wal")}) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(store.folder() / name, missing);
    bytes.Add({{"file", label}}, missing ? 0 : static_cast<double>(size));
  }
  families.push_back(bytes.Take());

  const WriteFigures writes = store.write_figures();
  families.push_back(One("syncbn_store_writes_total", "Writes that the store was asked for",
                         static_cast<double>(writes.writes), MetricType::Counter));
  families.push_back(One("syncbn_store_commits_total",
                         "Transactions; writes that wait together share one",
                         static_cast<double>(writes.commits), MetricType::Counter));
  families.push_back(One("syncbn_store_commit_seconds_total", "Time spent in transactions",
                         std::chrono::duration<double>(writes.busy).count(), MetricType::Counter));
}

}  // namespace

struct ServerMetrics::Families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& calls =
      prometheus::BuildCounter()
          .Name("syncbn_rpc_total")
          .Help("Calls that have ended, by method and code")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds =
      prometheus::BuildHistogram()
          .Name("syncbn_rpc_seconds")
          .Help("Duration of calls that are no streams, by method and code")
          .Register(registry);
  prometheus::Family<prometheus::Gauge>& streams = prometheus::BuildGauge()
                                                       .Name("syncbn_streams")
                                                       .Help("Open streams by method")
                                                       .Register(registry);
  prometheus::Family<prometheus::Gauge>& connections = prometheus::BuildGauge()
                                                           .Name("syncbn_connections")
                                                           .Help("Open connections by port")
                                                           .Register(registry);
  prometheus::Family<prometheus::Counter>& refused =
      prometheus::BuildCounter()
          .Name("syncbn_connections_refused_total")
          .Help("Connections that were refused, by port and by what there were too many of; "
                "silent: ended, for a new one, before they made a call of a known caller")
          .Register(registry);
  prometheus::Counter& points = prometheus::BuildCounter()
                                    .Name("syncbn_metric_points_total")
                                    .Help("Metric points received from workers")
                                    .Register(registry)
                                    .Add({});
  prometheus::Counter& lost = prometheus::BuildCounter()
                                  .Name("syncbn_metric_points_lost_total")
                                  .Help("Metric points that workers could not keep")
                                  .Register(registry)
                                  .Add({});
};

ServerMetrics::ServerMetrics(Options options)
    : options_(std::move(options)), families_(std::make_unique<Families>()) {
  prometheus::BuildGauge()
      .Name("syncbn_build_info")
      .Help("The version that runs")
      .Register(families_->registry)
      .Add({{"version", options_.version}})
      .Set(1);
}

ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::CountCall(std::string_view method, std::string_view code, bool stream,
                              std::chrono::duration<double> duration) {
  const prometheus::Labels labels = {{"method", std::string(method)}, {"code", std::string(code)}};
  families_->calls.Add(labels).Increment();
  if (!stream) families_->seconds.Add(labels, kLatencies).Observe(duration.count());
}

void ServerMetrics::AddStream(std::string_view method, int by) {
  families_->streams.Add({{"method", std::string(method)}}).Increment(by);
}

void ServerMetrics::SetConnections(std::string_view port, int64_t open) {
  families_->connections.Add({{"port", std::string(port)}}).Set(static_cast<double>(open));
}

void ServerMetrics::CountRefusedConnection(std::string_view port, std::string_view why) {
  families_->refused.Add({{"port", std::string(port)}, {"why", std::string(why)}}).Increment();
}

void ServerMetrics::CountMetricPoints(int64_t points) {
  families_->points.Increment(static_cast<double>(points));
}

void ServerMetrics::CountLostPoints(int64_t points) {
  families_->lost.Increment(static_cast<double>(points));
}

std::string ServerMetrics::Text() const {
  std::vector<MetricFamily> families = families_->registry.Collect();
  if (options_.store != nullptr) LookAtStore(*options_.store, families);
  if (options_.cluster) {
    const ClusterFigures figures = options_.cluster();
    auto add = [&](const char* name, const char* help, int64_t value) {
      families.push_back(One(name, help, static_cast<double>(value)));
    };
    add("syncbn_queue_length", "Jobs that wait for slots", figures.queue_length);
    add("syncbn_slots", "Slots of all hosts", figures.slots);
    add("syncbn_slots_used", "Slots held by jobs", figures.used_slots);
    add("syncbn_hosts", "Hosts of the cluster", figures.hosts);
    add("syncbn_hosts_unavailable", "Hosts that are drained or excluded",
        figures.unavailable_hosts);
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace syncbn::coordinator
