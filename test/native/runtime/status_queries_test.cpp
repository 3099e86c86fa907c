#include "runtime/status_queries.h"

#include <doctest/doctest.h>

#include <optional>

namespace wireup::runtime {

TEST_CASE("status queries: each is answered once, when its hosts have replied or are lost") {
  StatusQueries queries;
  std::vector<std::size_t> answers;
  const auto note = [&](StatusQueries::Replies replies) { answers.push_back(replies.size()); };
  queries.add({}, note);
  CHECK(answers == std::vector<std::size_t>{0});
  const std::uint32_t first = queries.add({0, 1}, note);
  const std::uint32_t second = queries.add({0, 1, 2}, note);
  CHECK(first != second);
  queries.reply(0, {second, {}});
  queries.reply(0, {second, {}});
  queries.reply(3, {second, {}});
  queries.reply(0, {99, {}});
  queries.reply(1, {first, {}});
  CHECK(answers.size() == 1);
  queries.lose(0);
  CHECK(answers == std::vector<std::size_t>{0, 1});
  queries.reply(0, {first, {}});
  queries.lose_all();
  queries.lose_all();
  CHECK(answers == std::vector<std::size_t>{0, 1, 1});
}

TEST_CASE("status queries: a callback may ask again") {
  StatusQueries queries;
  int answers = 0;
  queries.add({0}, [&](StatusQueries::Replies) {
    ++answers;
    queries.add({0}, [&](StatusQueries::Replies) { ++answers; });
  });
  queries.lose_all();
  queries.lose(0);
  CHECK(answers == 2);
}

}  // namespace wireup::runtime
