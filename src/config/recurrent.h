// What a model with recurrent layers can have: rules that validation and the layers share.
#pragma once

#include <string>

#include "config/norm_kind.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {

// Whether some layer is an rnn or an lstm: it has model.norm within, if any.
bool HasRecurrentLayer(const v1::ModelSpec& model);
bool HasRecurrentLayer(const LayerSpecs& layers);

// Why recurrent layers cannot have this kind of norm within, as what is said of the kind; empty
// where they can.
std::string NormUnfitForRecurrence(const v1::NormSpec& norm);

}  // namespace syncbn::config
