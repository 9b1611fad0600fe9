#include <moe_lab/corpus.hpp>

#include "catch.hpp"
#include "io/fifo.hpp"
#include "started.hpp"

using moe::test::Environment;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

const std::string content = "A known text.\n";
const lab::KnownText known = {"known.txt", "https://example.invalid/known.txt",
                              moe::sha256(content)};

// A text without a known SHA-256, which must look right.
const lab::KnownText unhashed = {
    "loose.txt",     "https://example.invalid/loose.txt", "",        20,
    "<|endoftext|>", {"second.txt", "third.txt"},         "stories", lab::generated_stories};

/// An environment of its own: no data folder, an empty cache, and a PATH with only `tools/`.
struct World {
  ScratchFolder folder;
  Environment data{"MOE_DATA_DIR", nullptr};
  Environment forbid{"MOE_NO_DOWNLOAD", nullptr};
  Environment cache{"XDG_CACHE_HOME", (folder / "cache").c_str()};
  Environment path{"PATH", (folder / "tools").c_str()};

  /// Puts a program on PATH. As curl it gets the file to write and the URL as its last two
  /// arguments.
  void tool(const std::string& name, const std::string& script) {
    moe::make_folders(folder / "tools");
    moe::test::script(folder, script, "tools/" + name);
  }
  std::string cached() const { return folder / "cache/moe/known.txt"; }
  lab::Corpus find(std::string_view given = {}, int seconds = 300) const {
    return lab::find_text(known, given, seconds);
  }
};

}  // namespace

TEST_CASE("find_text: a given path is used, and its failure is never covered up", "[error]") {
  const World world;
  moe::write_file(world.folder / "mine.txt", "My text.");
  CHECK(world.find(world.folder / "mine.txt").text == "My text.");
  CHECK(has(world.find(world.folder / "mine.txt").source, "mine.txt"));
  CHECK(world.find(world.folder / "mine.txt").path == world.folder / "mine.txt");
  const std::string message = message_of([&] { world.find(world.folder / "none.txt"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "none.txt': No such file or directory"));
}

TEST_CASE("find_text: a pipe is read once and whole", "[io]") {
  const World world;
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "line " + std::to_string(i) + "\n";  // many pipe buffers
  const lab::Corpus corpus = moe::test::through_fifo(
      world.folder / "fifo", text, [&](const std::string& path) { return world.find(path); });
  CHECK(corpus.text == text);
  CHECK(corpus.path.empty());  // nobody may try to read it again
}

TEST_CASE("find_text: MOE_DATA_DIR comes before the cache", "[io]") {
  const World world;
  moe::make_folders(world.folder / "cache/moe");
  moe::write_file(world.cached(), content);
  const Environment data("MOE_DATA_DIR", world.folder.path().c_str());
  CHECK(has(world.find().source, "cached"));  // MOE_DATA_DIR has no such file
  moe::write_file(world.folder / "known.txt", "Other.");
  CHECK(world.find().text == "Other.");
  CHECK(has(world.find().source, "MOE_DATA_DIR"));
  moe::write_file(world.folder / "known.txt", "");
  CHECK(has(message_of([&] { world.find(); }), "it is empty"));
}

TEST_CASE("find_text: the cache counts only with the right SHA-256", "[io]") {
  const World world;
  const Environment forbid("MOE_NO_DOWNLOAD", "1");
  moe::make_folders(world.folder / "cache/moe");
  moe::write_file(world.cached(), content);
  CHECK(world.find().text == content);
  CHECK(has(world.find().source, "(cached, SHA-256 verified)"));
  moe::write_file(world.cached(), content + "x");
  CHECK(has(world.find().source, "generated verse"));
  CHECK(world.find().path.empty());
  CHECK(has(world.find().source, "MOE_NO_DOWNLOAD forbids"));
  const Environment cache("XDG_CACHE_HOME", nullptr);
  const Environment home("HOME", world.folder.path().c_str());
  moe::make_folders(world.folder / ".cache/moe");
  moe::write_file(world.folder / ".cache/moe/known.txt", content);
  CHECK(has(world.find().source, "/.cache/moe/known.txt (cached"));
}

TEST_CASE("find_text: a download is verified and kept", "[io]") {
  World world;
  // curl is called with ... --output FILE URL.
  const std::string good =
      "while [ \"$1\" != --output ]; do shift; done; printf 'A known text.\\n' > \"$2\"";
  SECTION("with curl") {
    world.tool("curl", good);
  }
  SECTION("with wget, when curl fails") {
    world.tool("curl", "exit 22");
    world.tool("wget",
               "for a; do case $a in --output-document=*) f=${a#*=};; esac; done; "
               "printf 'A known text.\\n' > \"$f\"");
  }
  const lab::Corpus corpus = world.find();
  CHECK(corpus.text == content);
  CHECK(has(corpus.source, "downloaded, SHA-256 verified"));
  CHECK(moe::read_file(world.cached()) == content);
  CHECK(std::distance(std::filesystem::directory_iterator(world.folder / "cache/moe"), {}) == 1);
  world.tool("curl", "exit 22");
  CHECK(has(world.find().source, "cached"));
}

TEST_CASE("find_text: after a failed download the text is generated verse, and the source says why",
          "[error]") {
  World world;
  SECTION("another text") {
    world.tool("curl", "while [ \"$1\" != --output ]; do shift; done; echo 404 > \"$2\"");
    CHECK(has(world.find().source, "has another SHA-256"));
  }
  SECTION("no tool") {
    CHECK(has(world.find().source, "could not be downloaded"));
  }
  SECTION("a tool that never ends") {
    world.tool("curl", "PATH=/usr/bin:/bin exec sleep 600");
    CHECK(has(world.find({}, 1).source, "could not be downloaded"));
  }
  SECTION("no folder to keep it") {
    moe::write_file(world.folder / "cache", "a file in the way");
    CHECK(has(world.find().source, "Not a directory"));
  }
  SECTION("no home") {
    const Environment cache("XDG_CACHE_HOME", nullptr), home("HOME", nullptr);
    CHECK(has(world.find().source, "neither HOME nor XDG_CACHE_HOME is set"));
  }
  CHECK(!moe::detail::exists(world.cached()));
  const lab::Corpus corpus = world.find({}, 1);
  CHECK(has(corpus.source, "text: generated verse, because known.txt was not found and "));
  CHECK(corpus.text == lab::generated_verse(1'100'000, 1));
}

TEST_CASE("find_tiny_shakespeare: without a network it still has a text", "[io]") {
  const World world;
  const Environment forbid("MOE_NO_DOWNLOAD", "1");
  const lab::Corpus corpus = lab::find_tiny_shakespeare();
  CHECK(corpus.text.size() == 1'100'000);
  CHECK(has(corpus.source, "tinyshakespeare.txt"));
  CHECK(lab::tiny_shakespeare.sha256.size() == 64);
}

TEST_CASE("find_text: without a known SHA-256, a download counts if it looks right", "[io]") {
  World world;
  const auto curl_writes = [&](const std::string& printf_form) {
    world.tool("curl", "while [ \"$1\" != --output ]; do shift; done; printf '" + printf_form +
                           "' > \"$2\"");
  };
  const std::string cached = world.folder / "cache/moe/loose.txt";
  SECTION("what looks right is kept, and said to be unverified") {
    curl_writes("A story.\\n<|endoftext|>\\n");
    const lab::Corpus corpus = lab::find_text(unhashed, {});
    CHECK(corpus.text == "A story.\n<|endoftext|>\n");
    CHECK(corpus.source == "text: " + cached + " (downloaded, not verified by a hash)");
    world.tool("curl", "exit 22");
    CHECK(lab::find_text(unhashed, {}).source ==
          "text: " + cached + " (cached, not verified by a hash)");
    moe::write_file(cached, "damaged");
    CHECK(has(lab::find_text(unhashed, {}).source, "generated stories"));
  }
  SECTION("what does not is not") {
    std::string why;
    SECTION("too short") {
      curl_writes("404 <|endoftext|>");
      why = "has 17 bytes instead of at least 20";
    }
    SECTION("not UTF-8") {
      curl_writes("A story \\377 of bytes.\\n<|endoftext|>\\n");
      why = "is no text in UTF-8";
    }
    SECTION("with a NUL") {
      curl_writes("A story \\000 of bytes.\\n<|endoftext|>\\n");
      why = "is no text in UTF-8";
    }
    SECTION("another text") {
      curl_writes("<html>Sign in to go on</html>");
      why = "has no <|endoftext|>";
    }
    const lab::Corpus corpus = lab::find_text(unhashed, {});
    CHECK(corpus.source ==
          "text: generated stories, because loose.txt was not found and the "
          "download from https://example.invalid/loose.txt " +
              why + "; give a text file to use your own");
    CHECK(corpus.text == lab::generated_stories(1'100'000, 1));
    CHECK(!moe::detail::exists(cached));
  }
}

TEST_CASE("find_text: MOE_DATA_DIR may have the text under other names, the first of them counts",
          "[io]") {
  const World world;
  const Environment forbid("MOE_NO_DOWNLOAD", "1");
  const Environment data("MOE_DATA_DIR", world.folder.path().c_str());
  CHECK(has(lab::find_text(unhashed, {}).source, "MOE_NO_DOWNLOAD forbids"));
  for (const char* name : {"third.txt", "second.txt", "loose.txt"}) {
    moe::write_file(world.folder / name, name);
    CHECK(lab::find_text(unhashed, {}).text == name);
    CHECK(has(lab::find_text(unhashed, {}).source, std::string(name) + " (from MOE_DATA_DIR)"));
  }
}

TEST_CASE("find_tiny_stories: data folder, download, or generated stories", "[io]") {
  World world;
  SECTION("the full files come before the sample") {
    const Environment data("MOE_DATA_DIR", world.folder.path().c_str());
    for (const char* name : {"tinystories_valid_sample.txt", "TinyStoriesV2-GPT4-valid.txt",
                             "TinyStories-valid.txt"}) {
      moe::write_file(world.folder / name, name);
      CHECK(lab::find_tiny_stories().text == name);
    }
  }
  SECTION("ten megabytes of stories are taken") {
    world.tool("curl",
               "while [ \"$1\" != --output ]; do shift; done; PATH=/usr/bin:/bin; "
               "yes 'A story. <|endoftext|>' | head -c 10000000 > \"$2\"");
    const lab::Corpus corpus = lab::find_tiny_stories();
    CHECK(corpus.text.size() == 10'000'000);
    CHECK(has(corpus.source, "TinyStories-valid.txt (downloaded, not verified by a hash)"));
  }
  SECTION("a byte less is not") {
    world.tool("curl",
               "while [ \"$1\" != --output ]; do shift; done; PATH=/usr/bin:/bin; "
               "yes 'A story. <|endoftext|>' | head -c 9999999 > \"$2\"");
    CHECK(has(lab::find_tiny_stories().source, "has 9999999 bytes instead of at least 10000000"));
  }
  SECTION("without a network it still has a text") {
    const Environment forbid("MOE_NO_DOWNLOAD", "1");
    const lab::Corpus corpus = lab::find_tiny_stories();
    CHECK(corpus.text == lab::generated_stories(1'100'000, 1));
    CHECK(has(corpus.source, "text: generated stories, because TinyStories-valid.txt was not"));
  }
  SECTION("a given path is used") {
    moe::write_file(world.folder / "mine.txt", "My story.");
    CHECK(lab::find_tiny_stories(world.folder / "mine.txt").text == "My story.");
  }
}
