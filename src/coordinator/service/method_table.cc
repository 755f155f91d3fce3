#include "coordinator/service/method_table.h"

#include <algorithm>
#include <array>

namespace syncbn::coordinator {
namespace {

constexpr std::array kRules = {
    MethodRule{"JobService/CreateJob", Access::kSubmitter, true},
    MethodRule{"JobService/GetJob", Access::kViewer},
    MethodRule{"JobService/ListJobs", Access::kViewer},
    // Of submitters only those whose job it is may: the service looks at the job (ownership.h).
    MethodRule{"JobService/CancelJob", Access::kSubmitter, true},
    MethodRule{"JobService/PauseJob", Access::kSubmitter, true},
    MethodRule{"JobService/ResumeJob", Access::kSubmitter, true},
    MethodRule{"JobService/RetryJob", Access::kSubmitter, true},
    MethodRule{"JobService/DeleteJob", Access::kSubmitter, true},
    MethodRule{"JobService/WatchJobs", Access::kViewer, false, true},
    MethodRule{"JobService/ListAttempts", Access::kViewer},
    MethodRule{"JobService/ListTransitions", Access::kViewer},
    MethodRule{"JobService/ListCheckpoints", Access::kViewer},

    MethodRule{"StudyService/CreateStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/GetStudy", Access::kViewer},
    MethodRule{"StudyService/ListStudies", Access::kViewer},
    // As with jobs.
    MethodRule{"StudyService/CancelStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/PauseStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/ResumeStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/RetryStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/DeleteStudy", Access::kSubmitter, true},
    MethodRule{"StudyService/ReadStudyResults", Access::kViewer},

    MethodRule{"MetricsService/ListSeries", Access::kViewer},
    MethodRule{"MetricsService/QueryMetrics", Access::kViewer},
    MethodRule{"MetricsService/WatchMetrics", Access::kViewer, false, true},

    MethodRule{"LogService/ListLogs", Access::kViewer},
    MethodRule{"LogService/ReadLog", Access::kViewer},
    MethodRule{"LogService/FollowLog", Access::kViewer, false, true},

    MethodRule{"ClusterService/ListHosts", Access::kViewer},
    MethodRule{"ClusterService/DrainHost", Access::kAdmin, true},
    MethodRule{"ClusterService/RestoreHost", Access::kAdmin, true},
    MethodRule{"ClusterService/GetQueue", Access::kViewer},
    MethodRule{"ClusterService/GetServer", Access::kViewer},
    MethodRule{"ClusterService/BackUpStore", Access::kAdmin, true},

    MethodRule{"AdminService/CreateToken", Access::kAdmin, true},
    MethodRule{"AdminService/ListTokens", Access::kAdmin},
    MethodRule{"AdminService/RevokeToken", Access::kAdmin, true},
    MethodRule{"AdminService/ListAudit", Access::kAdmin},

    MethodRule{"WorkerService/Register", Access::kWorker},
    MethodRule{"WorkerService/Heartbeat", Access::kWorker},
    MethodRule{"WorkerService/ReportMetrics", Access::kWorker, false, true},
    MethodRule{"WorkerService/ReportExit", Access::kWorker},
};

}  // namespace

std::span<const MethodRule> MethodRules() {
  return kRules;
}

const MethodRule* FindMethodRule(std::string_view method) {
  const auto found = std::find_if(kRules.begin(), kRules.end(),
                                  [&](const MethodRule& rule) { return rule.method == method; });
  return found == kRules.end() ? nullptr : found;
}

}  // namespace syncbn::coordinator
