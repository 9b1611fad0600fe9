#pragma once
#include <moe_lab/text/word_list.hpp>

namespace lab::detail {

// The words and plots of the generated stories.
namespace story {

inline constexpr WordList girls =
    "Lily Mia Lucy Anna Sue Emma Sara Daisy Molly Rosie Ella Jane Amy Zoe Kim Nina Polly Tina";
inline constexpr WordList boys =
    "Tim Tom Ben Max Sam Jack Leo Bob Billy Finn Joe Danny Oscar Timmy Mark Lucas Peter Rex";
inline constexpr WordList animals =
    "bunny bear fox cat dog mouse duck squirrel turtle frog pig lamb hedgehog bird pony kitten";
inline constexpr WordList traits =
    "kind brave happy curious shy clever gentle cheerful quiet silly friendly playful";
// A place and what one sees there have the same position in their lists.
inline constexpr WordList places =
    "in_the_park in_the_garden in_the_forest at_the_beach on_the_farm at_the_playground "
    "in_the_meadow by_the_river by_the_lake on_the_hill in_the_village at_the_market";
inline constexpr WordList sights =
    "the_old_benches the_pretty_flowers the_tall_trees the_blue_waves the_cows_and_hens "
    "the_swings the_yellow_butterflies the_little_boats the_white_swans the_round_rocks "
    "the_stone_well the_baskets_of_fruit";
inline constexpr WordList hiding_places =
    "under_a_leaf behind_a_bush behind_a_tree under_a_bench in_the_tall_grass between_two_rocks "
    "under_a_blanket near_the_fence behind_the_steps in_a_deep_hole";
inline constexpr WordList adjectives =
    "red blue green yellow big small shiny soft old new pretty purple pink orange wooden tiny";
inline constexpr WordList toys =
    "ball doll kite book hat car drum boat train robot puzzle blanket box whistle wagon lantern";
inline constexpr WordList light_things = "ball kite balloon hat ribbon plane scarf feather towel";
inline constexpr WordList fragile_things = "cup vase clock lamp bowl mirror jar plate teapot";
inline constexpr WordList seeds = "carrot flower tree pumpkin melon bean sunflower rose";
inline constexpr WordList skills =
    "ride_a_bike swim whistle draw_a_cat catch_a_ball climb_a_rope dance read skate count_to_ten "
    "tie_a_bow play_the_drum";
inline constexpr WordList fears =
    "the_dark the_thunder the_big_slide the_deep_water the_high_bridge the_loud_train the_spider "
    "the_doctor the_noisy_machine";
// A trick against fear, in the infinitive and in the past.
inline constexpr WordList tricks =
    "sing_a_song count_to_three take_a_deep_breath hold_hands think_of_something_nice";
inline constexpr WordList tricks_done =
    "sang_a_song counted_to_three took_a_deep_breath held_hands thought_of_something_nice";
inline constexpr WordList dishes =
    "a_cake a_pie some_soup a_pizza some_bread a_pudding a_salad some_jam";
inline constexpr WordList ingredients = "eggs apples carrots cheese flour milk tomatoes berries";
inline constexpr WordList weather = "sunny warm bright windy cold quiet cloudy";

// '%word' is a slot, with a capital if the word has one; '[a|b]' is one of the alternatives.
inline constexpr std::string_view openings[] = {
    "Once upon a time, there was a %trait %kind named %hero. %He loved to play %place with %his "
    "friend, a little %fkind named %friend. [Every day|Every morning|After lunch], they [ran and "
    "jumped|sang songs|told funny stories|played games] near %sight.",
    "One [day|morning|afternoon], a little %kind named %hero went to %spot. %He wanted to see "
    "%sight. There %he met %friend, a %ftrait %fkind, and they became friends. [After that, they "
    "met every day.|Soon they did everything together.|They met there very often.]",
    "%hero was a %trait %kind who [liked|loved] to play %place. %His best friend was %friend, a "
    "%ftrait %fkind. They often [sat near|looked at|talked about|walked around] %sight.",
    "Once there were two friends named %hero and %friend. %hero was a %trait %kind and %friend "
    "was a %ftrait %fkind. They [met|played|laughed and played] %place every [day|week], even "
    "when it was [cold|windy|cloudy].",
};

struct Plot {
  const WordList& things;  // what the story is about: %thing
  std::string_view text;
};
inline constexpr Plot plots[] = {
    {toys,  // lost and found
     "One day, %hero could not find %his %adj %thing. \"Where is my %thing?\" %he cried. %He "
     "looked [under the bed|in the kitchen|behind the door] and [in every room|under the table], "
     "but it was not there. %hero felt [very|so] sad.\n\n"
     "\"[Do not worry|Do not cry], %hero,\" said %friend. \"[We will find it together|I will "
     "help you look].\" They went to %spot and looked near %sight. They asked a %animal, but the "
     "%animal [had not seen it|shook its head|did not know]. [They looked for a long time.|%hero "
     "almost gave up.]\n\n"
     "Then %friend [saw|spotted|found] something %adj %hiding. It was the %thing! %hero gave "
     "%friend a big hug. \"Thank you for helping me,\" %he said. From that day on, %hero always "
     "kept %his %thing [in a safe place|on the shelf|next to %his bed]."},
    {toys,  // to share
     "One day, %hero got %a_thing from %his %adult. It was very [special|nice], and %he took it "
     "to %spot. %friend saw it. \"Can I play with your %thing, please?\" asked %friend. \"No! It "
     "is mine!\" said %hero. %friend felt sad. %Fhe [walked away|went home|sat alone "
     "%hiding].\n\n"
     "%hero played with the %thing, but it was [not fun|boring] to play alone. %His %adult saw "
     "%him. \"Why are you sad?\" asked %Adult. \"%friend went away,\" said %hero. \"[Sharing "
     "makes friends happy|It is more fun to share|Good friends share],\" said %Adult.\n\n"
     "So %hero ran to find %friend. \"I am sorry,\" %he said. \"[Let's play together|You can "
     "play first|We can take turns].\" %friend smiled. They played with the %thing until [the "
     "sun went down|it was time for dinner]. %hero learned that sharing is [good|fun|kind]."},
    {fragile_things,  // to tell the truth
     "One day, %hero and %friend were [running|jumping|playing with a ball] in the house. "
     "[Crash!|Bang!|Oh no!] The %adj %thing fell on the floor and broke. It was the favorite "
     "%thing of %his %adult. %hero was [scared|worried]. \"Let's hide it,\" %he said.\n\n"
     "\"No,\" said %friend. \"We must tell the truth.\" %hero thought about it. %His tummy felt "
     "[bad|funny|tight]. At last %he went to %his %adult and said, \"I broke your %thing. I am "
     "very sorry.\"\n\n"
     "%Adult was not angry. \"Thank you for telling me the truth,\" %ahe said. \"[We can fix it "
     "with glue|Let's clean it up together|Things can break, but I love you].\" %hero and "
     "%friend helped %ahim [clean the floor|pick up the pieces]. After that, they only "
     "[ran|played] outside. %hero felt [proud|light and happy] because %he had been honest."},
    {toys,  // to be brave
     "But %hero had a secret. %He was afraid of %fear. When %he thought of %fear, %his legs "
     "shook and %he wanted to [hide|cry|run home]. One %weather day, %hero held %his %adj %thing "
     "tight and told %friend. \"Please do not laugh,\" %he said.\n\n"
     "%friend did not laugh. \"I was afraid of %fear too,\" %fhe said. \"Then my %adult told me "
     "to %trick. It helped me a lot. [Do you want to try?|Shall we try it together?]\" %hero "
     "nodded [slowly|bravely].\n\n"
     "So they %tricked. Then %hero looked at %fear again. [Nothing bad happened.|It was not so "
     "bad at all.] \"I did it!\" %he shouted. %friend clapped. Now, when %hero is afraid, %he "
     "remembers to %trick, and %he feels brave."},
    {light_things,  // stuck in a tree
     "One %weather day, %hero brought %a_thing. They played with it near %sight. Suddenly, the "
     "wind blew and took the %thing up, up, up. It got stuck [in a tall tree|on a high roof]. "
     "%hero jumped and jumped, but %he could not reach it.\n\n"
     "\"Let's [throw a stick|shake it down|climb up],\" said %friend. They tried, but the %thing "
     "did not move. A %animal came by and asked, \"What is wrong?\" %hero told the %animal about "
     "the %adj %thing. \"I can help,\" said the %animal.\n\n"
     "The %animal [climbed up quickly|stood on a big box|used a long ladder] and pulled the "
     "%thing down. \"Hooray!\" cried %hero and %friend. They thanked the %animal and asked it to "
     "play with them. All three played %place [all day|until dark] and became good friends."},
    {toys,  // a lost baby
     "One day, they heard a little sound %hiding. It was a baby %animal, and it was "
     "[cold|hungry|crying|shaking]. \"I can not find my mother,\" said the baby %animal. \"Poor "
     "little %animal,\" said %hero. \"We will help you.\"\n\n"
     "%hero gave the baby %animal [some water|a piece of bread|a warm blanket], and %friend let "
     "it hold %a_thing. Then they walked to %spot and looked near %sight. They called and "
     "called. [It was getting dark.|The baby was very tired.|Nobody answered.]\n\n"
     "At last, a big %animal came running. \"My baby!\" she said. The baby %animal was so happy "
     "that it [danced|jumped up and down|laughed]. The mother thanked %hero and %friend. %hero "
     "went home and told %his %adult everything. \"You have a good heart,\" %ahe said."},
    {toys,  // practice
     "Now %hero wanted to learn how to %skill. %friend could %skill very well, but %hero could "
     "not. %He tried once and [made a mistake|got it wrong]. %He tried again, and it did not work. "
     "\"I will never learn it!\" said %hero, and %he kicked %his %adj %thing.\n\n"
     "\"I could not do it at first either,\" said %friend. \"You have to practice. [Watch me|Go "
     "slowly|Start with a small part].\" So %hero practiced every [day|morning|evening] %place. "
     "[Sometimes it was hard|It took many days|%He was often tired], but %he did not give up.\n\n"
     "One %weather day, %hero could %skill! \"Look at me!\" %he called. %friend and %his %adult "
     "[cheered|clapped their hands]. \"You worked hard,\" said %Adult. %hero was very proud. %He "
     "knew that [it is good to keep trying|you can learn anything if you do not give up]."},
    {ingredients,  // a dish for a birthday; %dish goes with %thing
     "One day, it was the birthday of %hero's %adult, and %hero wanted to make %dish. %He asked "
     "%friend to help. They put on hats, washed their hands and took a big [bowl|pot|spoon]. But "
     "there was a problem. They had no %thing!\n\n"
     "\"We need %thing,\" said %hero. %friend had an idea. %Fhe took %fhis bag, and they went to "
     "%spot and met a %animal. \"May we have some %thing?\" asked %friend. \"Yes, if you [help "
     "me carry my bag|sing me a song|tell me a story|clean my house],\" said the %animal. So "
     "they did, and the %animal gave them a basket of %thing.\n\n"
     "They ran home and mixed and stirred. Soon there was a [sweet|yummy|warm] smell. \"Happy "
     "birthday!\" they shouted. %Adult tasted it and smiled. \"It is the best birthday ever,\" "
     "%ahe said, and they all ate together."},
    {toys,  // rain
     "One day, they wanted to have a picnic %place. They packed [sandwiches|apples|cookies] and "
     "juice, and %hero took %his %adj %thing. But then the sky turned gray and it started to "
     "rain. %friend [frowned|sighed]. \"Our picnic is ruined,\" %fhe said.\n\n"
     "%hero thought hard. \"I have an idea,\" %he said. \"We can have a picnic inside!\" They "
     "put a blanket on the floor and [made a tent|built a house of pillows|lit a small lamp]. "
     "They played with the %thing, ate and listened to the rain. It went drip, drop, drip, "
     "drop.\n\n"
     "When the rain stopped, they ran outside. There was a [big|beautiful] rainbow over %spot! "
     "They jumped in the puddles and got very wet. \"This was the best picnic,\" said %friend. "
     "%hero [laughed|agreed]. A rainy day can be a [good|happy|fun] day too."},
    {toys,  // not to listen
     "One day, %hero's %adult said, \"%hero, do not go to %spot alone. You could get lost.\" But "
     "%hero did not listen. %He took %his %adj %thing and went to %spot all alone. %He walked "
     "and walked and looked at %sight. Soon %he did not know the way home.\n\n"
     "It got [dark|cold|late]. %hero sat down %hiding and began to cry. \"I should have "
     "listened,\" %he said. %friend was looking for %him. \"%hero! Where are you?\" called "
     "%friend. %hero [banged on|waved|lifted] the %thing. %friend [saw|heard] %him and took "
     "%fhis friend by the hand.\n\n"
     "They walked home together. %Adult hugged %hero. \"I was so worried,\" %ahe said. \"I am "
     "sorry,\" said %hero. \"[Next time I will listen|I will not go alone again].\" And %he "
     "never went to %spot alone again."},
    {toys,  // not what it seems
     "One %weather day, a big %animal came to %spot. It had [sharp teeth|a loud voice|long "
     "claws|a deep growl]. All the others ran away. \"It looks mean,\" said %friend. They hid "
     "%hiding. But %hero saw that the %animal was [alone|sad|crying].\n\n"
     "%hero walked up to the %animal. \"Hello. Why are you sad?\" %he asked. \"Nobody wants to "
     "play with me,\" said the %animal. \"They think I am mean, but I only want a friend.\" "
     "%hero [felt sorry|thought about it] and gave the %animal %his %adj %thing.\n\n"
     "The %animal smiled. Soon %friend came too, and they played [hide and seek|tag|a funny "
     "game] near %sight. \"You are not mean at all,\" said %friend. \"You are "
     "[nice|gentle|funny]!\" They learned that you should not be afraid of someone just because "
     "they look different."},
    {seeds,  // to wait
     "One day, %Adult gave %hero a tiny seed. \"If you take care of it, it will grow,\" %ahe "
     "said. %hero and %friend dug a hole %place and put the seed in the ground. They gave it "
     "water. Then they sat down to wait. Nothing happened.\n\n"
     "\"It is too slow!\" said %hero. \"[Be patient|Give it time],\" said %friend. \"Good things "
     "take time.\" Every day they [watered the seed|pulled the weeds|sang to the seed], and a "
     "%animal [watched|helped] them. The sun was warm and the rain was [soft|cool].\n\n"
     "One morning, there was a little green leaf! It grew and grew, and soon there was a "
     "[big|beautiful|huge] %thing. \"We did it!\" cried %friend. They showed the %thing to "
     "everyone. %hero was glad that %he had waited."},
};
inline constexpr std::string_view endings[] = {
    "",
    "",
    "The end.",
    "They all lived happily ever after.",
    "That night, %hero went to bed with a smile and dreamed of %sight.",
    "From then on, %hero and %friend were [the best of friends|always together].",
    "\"What a [lovely|wonderful|great] day,\" said %hero. And %friend thought so too.",
};

}  // namespace story

}  // namespace lab::detail
