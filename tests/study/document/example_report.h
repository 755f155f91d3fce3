// A report with every kind of block, as a real study would have it.
#pragma once

#include "study/document/document.h"

namespace syncbn::study::document {

Document ExampleReport();

}  // namespace syncbn::study::document
