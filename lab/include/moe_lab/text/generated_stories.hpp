#pragma once
#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>
#include <moe_lab/text/story_plots.hpp>
#include <utility>

namespace lab {

namespace detail {

/// Writes stories. Names, place and thing are drawn once for each story, so that it does not
/// contradict itself.
class StoryTeller : WordPicker {
 public:
  explicit StoryTeller(std::uint64_t seed) : WordPicker(seed, 1) {}

  void tell_one() {
    const story::Plot& plot = story::plots[pick(int(std::size(story::plots)))];
    draw(plot.things);
    tell(story::openings[pick(int(std::size(story::openings)))]);
    text += "\n\n";
    tell(plot.text);
    const std::string_view ending = story::endings[pick(int(std::size(story::endings)))];
    if (!ending.empty()) text += "\n\n";
    tell(ending);
    text += "\n<|endoftext|>\n";
  }

  std::string text;

 private:
  static std::string without_first(const std::string& words) {
    return words.substr(words.find(' ') + 1);
  }

  /// Draws new words for all %slots: names, place, thing and so on.
  void draw(const WordList& things) {
    const int animal = pick(story::animals.size), name = pick(story::girls.size);
    person("", "hero", animal, name);
    // Drawn one after the other: the order of arguments is the compiler's.
    const int other_name = name + 1 + pick(story::girls.size - 1);
    const int other_animal = animal + 1 + pick(5);
    person("f", "friend", other_animal, other_name);
    slots_["animal"] = spaced(story::animals[(animal + 6 + pick(10)) % story::animals.size]);
    const bool woman = pick(2) == 0;
    slots_["adult"] = words(woman ? "mom grandma mama" : "dad grandpa papa");
    slots_["ahe"] = woman ? "she" : "he";
    slots_["ahim"] = woman ? "her" : "him";
    const int place = pick(story::places.size);
    slots_["place"] = spaced(story::places[place]);
    slots_["spot"] = without_first(slots_["place"]);
    slots_["sight"] = spaced(story::sights[place]);
    slots_["hiding"] = words(story::hiding_places);
    const int thing = pick(things.size);
    slots_["thing"] = spaced(things[thing]);
    slots_["dish"] = spaced(story::dishes[thing % story::dishes.size]);
    const std::string adjective = slots_["adj"] = words(story::adjectives);
    const bool vowel = std::string_view("aeiou").find(adjective[0]) != std::string_view::npos;
    slots_["a_thing"] = (vowel ? "an " : "a ") + adjective + " " + slots_["thing"];
    const int trick = pick(story::tricks.size);
    slots_["trick"] = spaced(story::tricks[trick]);
    slots_["tricked"] = spaced(story::tricks_done[trick]);
    slots_["skill"] = words(story::skills);
    slots_["fear"] = words(story::fears);
    slots_["weather"] = words(story::weather);
  }

  /// Name, kind, trait and pronouns of hero or friend.
  void person(const std::string& prefix, const std::string& role, int animal, int name) {
    const bool girl = pick(2) == 0, child = pick(2) == 0;
    const WordList& names = girl ? story::girls : story::boys;
    slots_[role] = spaced(names[name % names.size]);
    slots_[prefix + "kind"] =
        child ? (girl ? "girl" : "boy") : spaced(story::animals[animal % story::animals.size]);
    slots_[prefix + "trait"] = words(story::traits);
    slots_[prefix + "he"] = girl ? "she" : "he";
    slots_[prefix + "him"] = girl ? "her" : "him";
    slots_[prefix + "his"] = girl ? "her" : "his";
  }

  /// Writes `form` with its slots filled in and one of each of its alternatives drawn.
  void tell(std::string_view form) {
    for (std::size_t i = 0; i < form.size();) {
      if (form[i] == '[') {
        const std::size_t end = form.find(']', i);
        tell(alternative(form.substr(i + 1, end - i - 1)));
        i = end + 1;
      } else if (form[i] == '%') {
        std::size_t end = i + 1;
        while (end < form.size() &&
               (std::isalpha(static_cast<unsigned char>(form[end])) || form[end] == '_'))
          ++end;
        text += slot(std::string(form.substr(i + 1, end - i - 1)));
        i = end;
      } else {
        text += form[i++];
      }
    }
  }

  std::string_view alternative(std::string_view all) {
    for (auto left = pick(1 + int(std::count(all.begin(), all.end(), '|'))); left > 0; --left)
      all.remove_prefix(all.find('|') + 1);
    return all.substr(0, all.find('|'));
  }

  std::string slot(std::string name) const {
    const bool capital = name[0] >= 'A' && name[0] <= 'Z';
    if (capital) name[0] = static_cast<char>(name[0] - 'A' + 'a');
    const std::string& word = slots_.at(name);
    return capital ? upper_first(word) : word;
  }

  std::map<std::string, std::string> slots_;
};

}  // namespace detail

/// Children's stories in simple English, in ASCII, always the same for one seed and on every
/// machine: whole stories, "\n<|endoftext|>\n" after each, at least `bytes` bytes. For runs and
/// tests without a network; not a benchmark of quality.
/// A shorter text is the beginning of a longer one.  Test: tests/lab/generated_stories.cpp.
///
///     const std::string text = lab::generated_stories(1'000'000, 1);
inline std::string generated_stories(std::size_t bytes, std::uint64_t seed) {
  detail::StoryTeller teller(seed);
  while (teller.text.size() < bytes) teller.tell_one();
  return std::move(teller.text);
}

}  // namespace lab
