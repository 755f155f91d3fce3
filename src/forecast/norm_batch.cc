#include "forecast/norm_batch.h"

#include <google/protobuf/message.h>

#include <string>
#include <vector>

namespace syncbn::forecast {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// All normalization batches below a message, wherever the schema has them.
void Collect(Message& message, std::vector<v1::NormBatch*>& batches) {
  if (auto* batch = dynamic_cast<v1::NormBatch*>(&message)) {
    batches.push_back(batch);
    return;
  }
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(*reflection->MutableMessage(&message, field), batches);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      Collect(*reflection->MutableRepeatedMessage(&message, field, i), batches);
    }
  }
}

}  // namespace

void SetNormBatch(v1::ModelSpec& model, const v1::NormBatch& batch, Norms norms) {
  const std::string own = model.norm().batch().SerializeAsString();
  std::vector<v1::NormBatch*> batches;
  Collect(model, batches);
  for (v1::NormBatch* one : batches) {
    if (norms == Norms::kAll || one->SerializeAsString() == own) *one = batch;
  }
}

v1::NormBatch GlobalNormBatch() {
  v1::NormBatch batch;
  batch.set_scope(v1::NORM_SCOPE_GLOBAL);
  return batch;
}

}  // namespace syncbn::forecast
