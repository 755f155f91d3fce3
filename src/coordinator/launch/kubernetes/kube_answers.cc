#include "coordinator/launch/kubernetes/kube_answers.h"

namespace syncbn::coordinator {
namespace {

// Of the Status object that an API server explains itself with; empty where there is none.
std::string Field(const nlohmann::json& status, const char* name) {
  return status.is_object() && status.contains(name) && status[name].is_string()
             ? status[name].get<std::string>()
             : "";
}

// Words for people: the server's own, or the beginning of what it sent.
std::string WordsOf(const KubeAnswer& answer) {
  const std::string message = Field(answer.Json(), "message");
  if (!message.empty()) return message;
  std::string words = answer.body.substr(0, 200);
  while (!words.empty() && (words.back() == '\n' || words.back() == '\r')) words.pop_back();
  for (char& c : words) c = c == '\n' || c == '\r' ? ' ' : c;
  return words.empty() ? "HTTP status " + std::to_string(answer.status) : words;
}

std::string ResourceText(const KubeRequest& request) {
  return request.resource + (request.group.empty() ? "" : "." + request.group);
}

KubeRefusal Meaning(const KubeAnswer& answer, const KubeRequest& request) {
  const std::string words = WordsOf(answer);
  const std::string reason = Field(answer.Json(), "reason");
  switch (answer.status) {
    case 401:
      return {.words =
                  "the API server does not know who asks (401): " + words +
                  "; look at the service account, or at --kube-token (its file is read again at "
                  "every try)"};
    case 403:
      // The same status says that there is no room, or that a policy of the cluster forbids it.
      if (words.find("exceeded quota") != std::string::npos) return {.words = words};
      if (words.find(" cannot ") == std::string::npos)
        return {.words = "the cluster does not allow it (403): " + words};
      return {.words = "not allowed to " + request.verb + " " + ResourceText(request) +
                       " in the namespace " + request.name_space + " (403): " + words +
                       "; the role needs the verb '" + request.verb + "' on '" + request.resource +
                       "' of the group '" + request.group +
                       "' (launch/kubernetes/access.yaml has all that is needed)"};
    case 404:
      if (reason == "NotFound" && words.find("namespaces \"") != std::string::npos) {
        return {.words = "the namespace " + request.name_space +
                         " does not exist: kubectl create "
                         "namespace " +
                         request.name_space};
      }
      if (IsObjectMissing(answer)) return {.words = "it is not there (404): " + words};
      if (request.group == "kubeflow.org") {
        return {.words =
                    "the cluster has no MPIJob of kubeflow.org/v2beta1: the MPI operator is not "
                    "installed. Install version 0.6 or later: kubectl apply --server-side -f "
                    "https://raw.githubusercontent.com/kubeflow/mpi-operator/v0.8.2/deploy/"
                    "v2beta1/mpi-operator.yaml"};
      }
      return {.words = "not found (404): " + words};
    case 400:
    case 405:
    case 413:
    case 415:
    case 422:
      return {.final = true, .words = words};
    case 409:
      return {.words = "in conflict with what is there (409): " + words};
    case 429:
      return {.words = "the API server has too much to do (429): " + words};
    default:
      return {.words = "the API server answers with status " + std::to_string(answer.status) +
                       ": " + words};
  }
}

}  // namespace

KubeRefusal MeaningOf(const KubeAnswer& answer, const KubeRequest& request) {
  KubeRefusal refusal = Meaning(answer, request);
  refusal.wait = answer.retry_after.value_or(refusal.wait);
  return refusal;
}

bool IsObjectMissing(const KubeAnswer& answer) {
  if (answer.status != 404) return false;
  const nlohmann::json status = answer.Json();
  if (Field(status, "kind") != "Status" || Field(status, "reason") != "NotFound") return false;
  const auto details = status.find("details");
  return details != status.end() && details->is_object() && details->value("name", "") != "" &&
         details->value("kind", "") != "namespaces";
}

bool IsAlreadyThere(const KubeAnswer& answer) {
  return answer.status == 409 && Field(answer.Json(), "reason") == "AlreadyExists";
}

}  // namespace syncbn::coordinator
