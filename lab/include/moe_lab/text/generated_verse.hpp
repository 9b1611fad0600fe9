#pragma once
#include <moe_lab/text/word_list.hpp>
#include <utility>

namespace lab {

namespace detail {

// The words and forms of the verse.
namespace verse {

inline constexpr WordList names =
    "Corin Mabel Osric Helen Rufus Viola Gilbert Esther Hubert Isolde Percy Alma Duncan Portia "
    "Walter Nerys Edmund Rosamund Tybert Celia";
inline constexpr WordList places =
    "a_hall_in_the_castle a_wood_near_the_river a_street_in_the_city the_shore_before_a_storm "
    "a_field_of_battle a_garden_with_a_well an_inn_on_the_northern_road a_ship_at_sea "
    "a_chapel_in_ruins the_gates_of_the_town a_prison a_hill_above_the_camp";
inline constexpr WordList hours = "night day dawn moonlight torchlight evening noon starlight";
inline constexpr WordList two_adjectives =
    "golden silver bitter gentle noble wicked idle hollow weary silent crimson ancient broken "
    "cruel humble hungry jealous merry mortal narrow patient pleasant royal sacred secret simple "
    "stormy sudden tender thankless trusty wanton winter wounded";
inline constexpr WordList one_adjectives =
    "sweet fair cold dark proud false true brave wild old poor rich sharp soft deep pale swift "
    "strange kind blind";
inline constexpr WordList nouns =
    "sorrow honour kingdom river mother father brother sister soldier winter summer morning "
    "shadow garden castle mountain mirror candle letter feather fortune reason treason slumber "
    "danger pity promise anger beauty wisdom silence music thunder ocean chamber falcon lion "
    "raven serpent poison";
inline constexpr WordList one_nouns =
    "crown sword heart king queen love death night moon star sea storm rose thorn flame stone "
    "dream grave ghost blood hand voice song wall gate ship horse hound wolf dove fool lord truth "
    "lie time hope grief joy oath";
inline constexpr WordList two_verbs =
    "follow borrow conquer answer gather whisper murder pardon honour wander suffer cherish "
    "banish ransom measure question flatter hinder";
inline constexpr WordList verbs_with_s =
    "breaks holds fears seeks finds loses bears keeps leaves wakes burns drowns crowns blinds "
    "loves "
    "hates mocks proves calls";
inline constexpr WordList one_verbs =
    "break hold fear seek find lose bear keep leave wake burn drown crown curse bless love hate "
    "mock prove call";
inline constexpr WordList past_verbs =
    "broke held feared sought found lost bore kept left woke burned drowned crowned cursed "
    "blessed loved mocked proved called sold";
inline constexpr WordList adverbs =
    "never ever gently boldly sadly truly falsely lightly madly wisely slowly always seldom";
inline constexpr WordList oaths =
    "By_heaven Alas Good_friend Marry In_faith My_lord Nay_then O_peace Believe_me Hark_you";
inline constexpr WordList rhymes[] = {
    "day way clay bay play fray",      "night light sight knight fight flight",
    "head bed bread thread lead dead", "sea tree knee bee key plea",
    "heart part art dart start cart",  "fire choir lyre sire spire liar",
    "tear fear year spear ear deer",   "stone throne bone moan groan loan",
    "rain pain chain plain lane grain"};

inline constexpr std::string_view lines[] = {
    "The %A %n of %N %s the %n,",           "And %R did the %n of %N %v,",
    "I %d the %n that %d the %A %n;",       "What %A %n can %V such a %n?",
    "No %n shall %V me, nor %N %v.",        "Thy %a and %A %n must %v the %n,",
    "When %N %s the %n, the %n will %v:",   "O %T, %R %v the %A %n!",
    "But if the %n should %v, then %V me,", "Come, %T, let us %v the %A %n.",
    "It is the %N, not the %n, that %s",    "My %N and my %N %d the %n.",
    "So %a a %n, so %a a %N's %n!",         "Shall I not %V what the %n has %d?",
    "The %M %s me, and the %M will %v;",    "Who %s the %M must %R %v the %n.",
};
inline constexpr std::string_view couplets[][2] = {
    {"The %A %n has %d me for the %x,", "And all the %N of the %n is %x."},
    {"Go, %T, and let no man %v the %x:", "I %d the %n, and never saw the %x."},
    {"So ends the %N that we call the %x;", "The %n is gone, and with the %n the %x."},
    {"If %N %s the %n, then fear the %x,", "For every %n must meet the %a %x."},
};

}  // namespace verse

/// Writes scenes of verse from a small grammar. A slot of a line is '%' and a letter. A, N, V, R,
/// T: an adjective, noun, verb, adverb or name of two syllables, the first one stressed (M: the
/// noun of the scene). a, n, v, s, d: an adjective, a noun, a verb, a verb with -s or a verb in the
/// past, of one syllable. x: a rhyme.
class VerseWriter : WordPicker {
 public:
  explicit VerseWriter(std::uint64_t seed) : WordPicker(seed, 0) {}

  void scene() {
    ++scene_;
    const int cast = 2 + pick(3), first = pick(verse::names.size);
    for (int i = 0; i < cast; ++i) cast_[i] = (first + 5 * i) % verse::names.size;
    theme_ = pick(verse::nouns.size);
    // One statement for each draw: C++ may evaluate the operands of + in any order.
    text += "SCENE " + std::to_string(scene_) + ". " + upper_first(words(verse::places));
    text += " by " + words(verse::hours) + ".\n\n";
    text += "Enter " + name(0);
    for (int i = 1; i < cast; ++i) text += (i + 1 == cast ? " and " : ", ") + name(i);
    text += ".\n\n";
    const int speeches = 6 + pick(10);
    for (int i = 0, speaker = pick(cast); i < speeches; ++i) {
      speech(speaker, cast);
      speaker = (speaker + 1 + pick(cast - 1)) % cast;
    }
    text += "Exeunt.\n\n";
  }

  std::string text;

 private:
  std::string name(int member) const { return upper(verse::names[cast_[member]]); }
  static std::string upper(std::string_view word) {
    std::string out(word);
    for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return out;
  }

  void speech(int speaker, int cast) {
    const int other = (speaker + 1 + pick(cast - 1)) % cast;
    text += name(speaker) + ":\n";
    // Each name has its own oath, so that the words tell who speaks.
    if (pick(4) == 0) {
      text += spaced(verse::oaths[cast_[speaker] % verse::oaths.size]) + ", " +
              spaced(verse::names[cast_[other]]) + "!\n";
    }
    const int count = 1 + pick(5);
    for (int i = 0; i < count; ++i)
      line(verse::lines[pick(sizeof verse::lines / sizeof *verse::lines)], other, 0);
    if (pick(3) == 0) {
      const int rhyme = pick(sizeof verse::rhymes / sizeof *verse::rhymes);
      rhyme_word_ = pick(verse::rhymes[rhyme].size);
      const auto& couplet = verse::couplets[pick(sizeof verse::couplets / sizeof *verse::couplets)];
      line(couplet[0], other, rhyme);
      line(couplet[1], other, rhyme);
    }
    text.pop_back();
    if (text.back() == ',' || text.back() == ';' || text.back() == ':') text.pop_back();
    if (text.back() >= 'a' && text.back() <= 'z') text += '.';
    text += "\n\n";
  }

  void line(std::string_view form, int other, int rhyme) {
    std::string out;
    for (std::size_t i = 0; i < form.size(); ++i) {
      if (form[i] == '%') {
        out += slot(form[++i], other, rhyme);
      } else {
        out += form[i];
      }
    }
    text += upper_first(out) + "\n";
  }

  std::string slot(char kind, int other, int rhyme) {
    switch (kind) {
      case 'A':
        return words(verse::two_adjectives);
      case 'a':
        return words(verse::one_adjectives);
      case 'N':
        return words(verse::nouns);
      case 'n':
        return words(verse::one_nouns);
      case 'M':
        return spaced(verse::nouns[theme_]);  // the noun of the scene comes again and again
      case 'V':
        return words(verse::two_verbs);
      case 'v':
        return words(verse::one_verbs);
      case 's':
        return words(verse::verbs_with_s);
      case 'd':
        return words(verse::past_verbs);
      case 'R':
        return words(verse::adverbs);
      case 'T':
        return spaced(verse::names[cast_[other]]);
      default:
        return spaced(verse::rhymes[rhyme][rhyme_word_++ % verse::rhymes[rhyme].size]);
    }
  }

  int scene_ = 0, theme_ = 0, rhyme_word_ = 0;
  int cast_[4] = {};
};

}  // namespace detail

/// A play of `bytes` bytes of ASCII, always the same for one seed and on every machine: scenes,
/// several speakers, verse. For runs and tests without a network; not a benchmark of quality.
/// A shorter text is the beginning of a longer one.  Test: tests/lab/generated_verse.cpp.
///
///     const std::string text = lab::generated_verse(1'000'000, 1);
inline std::string generated_verse(std::size_t bytes, std::uint64_t seed) {
  detail::VerseWriter writer(seed);
  while (writer.text.size() < bytes) writer.scene();
  writer.text.resize(bytes);
  return std::move(writer.text);
}

}  // namespace lab
