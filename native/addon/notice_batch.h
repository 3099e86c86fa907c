// A batch of notices on its way to JavaScript.
//
// Making an object by Node-API costs a call for each property, and V8 enlarges the object several times. A
// job has several notices for each rank: events, starts, exits. These cross as rows of numbers, and
// lib/notice-rows.ts makes objects of them, which is many times faster. Other notices cross as objects.
//
// The rows are in two typed arrays, which every batch uses again. Whatever is no number is in a list of
// values, in the order in which JavaScript takes them.
//
// Threads: the JavaScript thread's.
#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/notice.h"

namespace wireup::addon {

class NoticeBatch {
 public:
  // `most`: how many notices a batch may have.
  NoticeBatch(Napi::Env env, std::size_t most);

  // Writes at most as many notices as a batch may have, in place of those before. Returns the arguments of
  // the callback that lib/native.ts declares, without the last one.
  std::vector<napi_value> write(Napi::Env env, std::span<const runtime::Notice> notices);

 private:
  Napi::Reference<Napi::Int32Array> integers_;
  Napi::Reference<Napi::Float64Array> doubles_;
};

}  // namespace wireup::addon
