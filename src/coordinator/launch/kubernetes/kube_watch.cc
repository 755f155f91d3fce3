#include "coordinator/launch/kubernetes/kube_watch.h"

#include <algorithm>

#include "base/error.h"

namespace syncbn::coordinator {
namespace {

constexpr int kGone = 410;
// Objects in one answer to a list.
constexpr int kPage = 500;

std::string NameOf(const nlohmann::json& object) {
  return object.at("metadata").at("name").get<std::string>();
}

std::string LabelOf(const nlohmann::json& object, const std::string& label) {
  const nlohmann::json& meta = object.at("metadata");
  const auto labels = meta.find("labels");
  return labels != meta.end() && labels->is_object() ? labels->value(label, "") : "";
}

std::string VersionOf(const nlohmann::json& object) {
  return object.at("metadata").value("resourceVersion", "");
}

}  // namespace

KubeWatch::KubeWatch(Options options) : options_(std::move(options)) {
  thread_ = std::thread([this] { Loop(); });
}

KubeWatch::~KubeWatch() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::string KubeWatch::Trouble(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [this] { return asked_; });
  return trouble_;
}

KubeObject KubeWatch::Find(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto found = objects_.find(name);
  return found == objects_.end() ? nullptr : found->second;
}

std::vector<KubeObject> KubeWatch::Select(const std::string& value) const {
  std::lock_guard lock(mutex_);
  std::vector<KubeObject> selected;
  if (const auto found = by_key_.find(value); found != by_key_.end()) {
    for (const auto& [name, object] : found->second) selected.push_back(object);
  }
  return selected;
}

std::vector<KubeObject> KubeWatch::All() const {
  std::lock_guard lock(mutex_);
  std::vector<KubeObject> all;
  for (const auto& [name, object] : objects_) all.push_back(object);
  return all;
}

void KubeWatch::Put(KubeObject object) {
  const std::string name = NameOf(*object);
  Remove(name);  // it may have had another label
  if (!options_.key.empty()) by_key_[LabelOf(*object, options_.key)][name] = object;
  objects_[name] = std::move(object);
}

void KubeWatch::Remove(const std::string& name) {
  const auto found = objects_.find(name);
  if (found == objects_.end()) return;
  if (!options_.key.empty()) {
    const auto group = by_key_.find(LabelOf(*found->second, options_.key));
    group->second.erase(name);
    if (group->second.empty()) by_key_.erase(group);
  }
  objects_.erase(found);
}

int KubeWatch::lists() const {
  std::lock_guard lock(mutex_);
  return lists_;
}

void KubeWatch::SetTrouble(const std::string& trouble) {
  {
    std::lock_guard lock(mutex_);
    trouble_ = trouble;
    asked_ = true;
  }
  changed_.notify_all();
}

void KubeWatch::Loop() {
  auto wait = options_.retry;
  while (true) {
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
    }
    try {
      if (version_.empty()) List();
      const auto begin = std::chrono::steady_clock::now();
      const bool goes_on = Watch();
      if (goes_on) wait = options_.retry;
      // One that is ended as soon as it has begun is not begun again without a rest.
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, begin + wait, [this] { return stop_; });
      if (goes_on) continue;
      version_.clear();
      wait = std::min(2 * wait, 16 * options_.retry);
    } catch (const std::exception& error) {
      SetTrouble(error.what());
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, wait, [this] { return stop_; });
      wait = std::min(2 * wait, 16 * options_.retry);
    }
  }
}

void KubeWatch::List() {
  std::map<std::string, KubeObject> found;
  std::string next, version;
  for (bool more = true; more;) {
    std::string path = options_.path + "?limit=" + std::to_string(kPage) +
                       "&labelSelector=" + UrlEncode(options_.selector);
    if (!next.empty()) path += "&continue=" + UrlEncode(next);
    const KubeAnswer answer = options_.client->Call("GET", path);
    if (answer.status == kGone && !next.empty()) {  // the pages took too long: from the first again
      found.clear();
      next.clear();
      continue;
    }
    if (!answer.ok()) {
      KubeRequest request = options_.request;
      request.verb = "list";
      throw Error(ErrorCode::kUnavailable, MeaningOf(answer, request).words);
    }
    const nlohmann::json list = answer.Json();
    for (const nlohmann::json& object : list.at("items"))
      found[NameOf(object)] = std::make_shared<const nlohmann::json>(object);
    version = VersionOf(list);
    next = list.at("metadata").value("continue", "");
    more = !next.empty();
  }
  {
    std::lock_guard lock(mutex_);
    objects_.clear();
    by_key_.clear();
    for (auto& [name, object] : found) Put(std::move(object));
    ++lists_;
    version_ = version;
  }
  if (!watch_refused_) SetTrouble("");
}

bool KubeWatch::Watch() {
  const std::string path = options_.path + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=" +
                           std::to_string(options_.watch_time.count()) +
                           "&resourceVersion=" + UrlEncode(version_) +
                           "&labelSelector=" + UrlEncode(options_.selector);
  bool forgotten = false;
  std::string said;
  // Whatever is wrong but for the network: from a list on again.
  const auto refuse = [this](const std::string& why) {
    version_.clear();
    watch_refused_ = true;
    throw Error(ErrorCode::kUnavailable, why);
  };
  const KubeAnswer answer = options_.client->Stream(
      path, options_.watch_time,
      [this] {
        watch_refused_ = false;
        SetTrouble("");
      },
      [&](const std::string& line) {
        const nlohmann::json event = KubeAnswer::Parse(line);
        if (!event.is_object() || !event.contains("object")) {
          said = "the watch of " + options_.request.resource +
                 " sends what is no event: " + line.substr(0, 200);
          return false;
        }
        try {
          if (event.value("type", "") == "ERROR") {
            const nlohmann::json& status = event.at("object");
            forgotten = status.value("code", 0) == kGone;
            if (!forgotten)
              said = "the watch of " + options_.request.resource +
                     " ended: " + status.value("message", "");
            return false;
          }
          Take(event);
        } catch (const nlohmann::json::exception& error) {
          said = "the watch of " + options_.request.resource +
                 " sends what is no object: " + error.what();
          return false;
        }
        return true;
      },
      [this] {
        std::lock_guard lock(mutex_);
        return stop_;
      });
  if (answer.status == kGone) return false;
  if (!answer.ok()) {
    KubeRequest request = options_.request;
    request.verb = "watch";
    refuse(MeaningOf(answer, request).words);
  }
  if (!said.empty()) refuse(said);
  return !forgotten;
}

void KubeWatch::Take(const nlohmann::json& event) {
  const std::string type = event.value("type", "");
  const nlohmann::json& object = event.at("object");
  std::lock_guard lock(mutex_);
  version_ = VersionOf(object);
  if (type == "DELETED") {
    Remove(NameOf(object));
  } else if (type == "ADDED" || type == "MODIFIED") {
    Put(std::make_shared<const nlohmann::json>(object));
  }
}

}  // namespace syncbn::coordinator
