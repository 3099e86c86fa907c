#include "wire/messages.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <tuple>

namespace wireup::wire {
namespace {

TEST_CASE("messages: the table is consistent") {
  std::set<std::string_view> names;
  std::set<std::tuple<std::string_view, Direction, Form>> wire_names;
  std::set<std::tuple<std::string_view, Direction>> wire_names_v2;
  for (const MessageSpec& spec : kMessages) {
    CAPTURE(spec.name);
    CHECK_FALSE(spec.name.empty());
    CHECK_FALSE(spec.source.empty());
    CHECK(names.insert(spec.name).second);
    CHECK_FALSE((spec.v1.empty() && spec.v2.empty()));
    if (!spec.v1.empty()) {
      CHECK(wire_names.insert({spec.v1, spec.direction, spec.form}).second);
      CHECK(find_v1(spec.v1, spec.direction, spec.form) == &spec);
    }
    if (!spec.v2.empty()) {
      CHECK(wire_names_v2.insert({spec.v2, spec.direction}).second);
      CHECK(find_v2(spec.v2, spec.direction) == &spec);
    }

    const MessageSpec& reply = spec_of(spec.reply);
    if (spec.direction == Direction::to_client) CHECK(reply.id == spec.id);
    if (spec.reply != spec.id) {
      CHECK(spec.v1.empty() == reply.v1.empty());
      CHECK(spec.v2.empty() == reply.v2.empty());
      CHECK(reply.direction == Direction::to_client);
      bool has_rc = false;
      for (const AttributeSpec& attribute : reply.attributes) has_rc |= attribute.id == AttributeId::rc;
      CHECK(has_rc);
    }
    if (spec.support == Support::refused) CHECK(spec.direction == Direction::to_server);

    for (const Version version : {Version::v1, Version::v2}) {
      std::set<std::string_view> attributes;
      for (const AttributeSpec& attribute : spec.attributes) {
        CAPTURE(name_of(attribute.id));
        if (!attribute.is_in(version)) continue;
        CHECK(attributes.insert(attribute.name(version)).second);
        const std::string_view alias = version == Version::v2 ? attribute.v2_alias : attribute.alias;
        if (!alias.empty()) CHECK(attributes.insert(alias).second);
        // on_success refers to the rc, which only replies have.
        if (attribute.presence == Presence::on_success) CHECK(spec.direction == Direction::to_client);
      }
    }
    // No attribute can follow a value that extends to the end of the line.
    for (const AttributeSpec& attribute : spec.attributes) {
      const bool last = &attribute == &spec.attributes.back();
      if (attribute.type == ValueType::rest_of_line && spec.form == Form::line && !spec.v1.empty())
        CHECK(last);
    }
  }
}

TEST_CASE("messages: every enumerator has a name") {
  for (const auto type :
       {ValueType::integer, ValueType::boolean, ValueType::word, ValueType::words, ValueType::rest_of_line}) {
    CHECK_FALSE(to_string(type).empty());
  }
  for (const auto presence : {Presence::required, Presence::optional, Presence::on_success}) {
    CHECK_FALSE(to_string(presence).empty());
  }
  CHECK(to_string(Direction::to_server) == "to-server");
  CHECK(to_string(Direction::to_client) == "to-client");
  CHECK(to_string(Form::line) == "line");
  CHECK(to_string(Form::block) == "block");
  CHECK(to_string(Support::full) == "full");
  CHECK(to_string(Support::refused) == "refused");
}

TEST_CASE("messages: names match exactly and by direction") {
  CHECK(find_v1("get", Direction::to_server, Form::line) == &spec_of(MessageId::get));
  for (const std::string_view name : {"", "ge", "getfoo", "GET", " get", "get "}) {
    CAPTURE(name);
    CHECK(find_v1(name, Direction::to_server, Form::line) == nullptr);
  }
  CHECK(find_v1("get", Direction::to_client, Form::line) == nullptr);
  CHECK(find_v2("kvs-get", Direction::to_server) == &spec_of(MessageId::get));
  for (const std::string_view name : {"", "get", "kvs-ge", "kvs-get-response", "KVS-GET"}) {
    CAPTURE(name);
    CHECK(find_v2(name, Direction::to_server) == nullptr);
  }
  CHECK(find_v1("initack", Direction::to_client, Form::line) == &spec_of(MessageId::initack_reply));
}

}  // namespace
}  // namespace wireup::wire
