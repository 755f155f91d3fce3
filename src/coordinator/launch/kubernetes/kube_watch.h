// All objects of one kind that carry a label, kept up to date by a list and a watch: so that
// looking at a job costs the API server nothing, however many jobs there are and however often they
// are looked at.
//
// A thread lists, then watches from the list's version on, for a minute at a time, so that a
// connection that is dead without a word is found within that and the time of an answer. It goes on
// from the last version it has seen (objects and bookmarks tell it) where the network failed. When
// the server says anything but yes, that it has forgotten that version (410) or whatever else, it
// lists again, ever more seldom: a version that the server does not like would never be any better.
// What it holds is for what may change the next moment: of what is final, an end, a disappearance,
// the caller asks the server itself.
//
// Objects are handed out as they are held, and never change: looking copies none, however many
// there are.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "coordinator/launch/kubernetes/kube_answers.h"

namespace syncbn::coordinator {

using KubeObject = std::shared_ptr<const nlohmann::json>;

class KubeWatch {
 public:
  struct Options {
    KubeClient* client = nullptr;
    // "/api/v1/namespaces/training/pods"
    std::string path;
    std::string selector;  // of labels: "syncbn.org/store=1a2b3c4d"
    std::string key = {};  // a label by whose value objects are found
    KubeRequest request;   // for what is said of refusals; the verb is filled in
    std::chrono::seconds watch_time{60};
    // After something went wrong, at first; doubles up to sixteen times that.
    std::chrono::milliseconds retry = std::chrono::milliseconds(500);
  };

  explicit KubeWatch(Options options);
  ~KubeWatch();

  // Why what is held cannot be trusted now; empty: it can. At the beginning waits for the first
  // list, or what comes in its place, at most `patience`.
  std::string Trouble(std::chrono::milliseconds patience);

  // Null where there is none of that name.
  KubeObject Find(const std::string& name) const;
  // Those whose label `key` is `value`, in the order of their names.
  std::vector<KubeObject> Select(const std::string& value) const;
  std::vector<KubeObject> All() const;
  // How often all were listed; for tests.
  int lists() const;

 private:
  void Loop();
  // Throws an Error with what is to be said of it.
  void List();
  // Until the server ends it. False: what it knows begins after our version.
  bool Watch();
  void Take(const nlohmann::json& event);
  void Put(KubeObject object);           // mutex_ held
  void Remove(const std::string& name);  // mutex_ held
  void SetTrouble(const std::string& trouble);

  Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::string trouble_ = "not asked yet";
  bool asked_ = false;
  int lists_ = 0;
  std::string version_;
  bool watch_refused_ = false;                 // what is listed then is soon of yesterday
  std::map<std::string, KubeObject> objects_;  // by name
  std::map<std::string, std::map<std::string, KubeObject>> by_key_;  // by value, then by name
  std::thread thread_;
};

}  // namespace syncbn::coordinator
