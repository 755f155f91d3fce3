// A job as the store keeps it, and its form in the API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/job/job_state.h"
#include "syncbn/v1/job.pb.h"

namespace syncbn::coordinator {

struct JobRecord {
  int64_t id = 0;
  // What was asked for: the input fields of syncbn.v1.Job with defaults filled in, display_name and
  // submitter, but without the run file, which is kept apart.
  v1::Job spec;
  JobStatus status;
  // Grows with every change; the etag.
  int64_t revision = 0;
  WallTime create_time;
  std::optional<WallTime> start_time;
  v1::Progress progress;
  std::optional<v1::Evaluation> evaluation;
};

// "jobs/17"
std::string JobName(int64_t id);
// "jobs/17/attempts/2"
std::string AttemptName(int64_t id, int attempt);
// The inverses; FIELD_INVALID, of the field of the request that held it, for what is no such name.
int64_t ParseJobName(std::string_view name, const std::string& field = "name");
struct AttemptId {
  int64_t job = 0;
  int attempt = 0;
};
AttemptId ParseAttemptName(std::string_view name, const std::string& field = "name");

std::string Etag(int64_t revision);

// The job as the API shows it, all but the run file and what only the scheduler knows (`pending`).
v1::Job ToProto(const JobRecord& record, Moment now);

// Leaves out what the BASIC view leaves out: run files, overrides that are long, environment, lists
// of hosts.
void MakeBasic(v1::Job& job);

// The limits of this job: `defaults`, changed by what its resources say.
JobPolicy PolicyOf(const JobRecord& record, const JobPolicy& defaults);

v1::Failure ToProto(const Failure& failure);
Failure FromProto(const v1::Failure& failure);

// Total: what the other side cannot say becomes the nearest that it can.
google::protobuf::Timestamp ToProto(WallTime time);
WallTime FromProto(const google::protobuf::Timestamp& time);
google::protobuf::Duration ToProto(std::chrono::microseconds time);
std::chrono::microseconds FromProto(const google::protobuf::Duration& time);

}  // namespace syncbn::coordinator
