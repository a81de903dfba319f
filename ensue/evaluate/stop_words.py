"""English words that hardly ever end a passage as the word it was leading up to.

GPT-2 (2019), section 3.3, filters LAMBADA's predictions by a stop-word list that is not published. This one is our own:
the closed classes of English (articles, pronouns, prepositions, conjunctions, auxiliaries and the contractions of
both), with the adverbs of degree, place, time and manner that join or point rather than name.
"""

from __future__ import annotations

ARTICLES = "a an the this that these those such same other another each every either neither both all any some"
QUANTITIES = "no none few several many much more most less least enough one"
PRONOUNS = """
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves who whom whose which what whoever whatever whichever someone somebody
something anyone anybody anything everyone everybody everything nobody nothing
"""
PREPOSITIONS = """
about above across after against along alongside amid among around as at before behind below beneath beside besides
between beyond by despite down during except for from in inside into like near of off on onto out outside over past per
since than through throughout till to toward towards under underneath until unto up upon with within without
"""
CONJUNCTIONS = "and but or nor so yet if unless because although though while whereas whether once lest"
AUXILIARIES = """
am is are was were be been being have has had having do does did doing will would shall should can could may might must
ought need dare
"""
ADVERBS = """
not never ever just only even also too very quite rather almost still already again then now here there where when why
how however else instead maybe perhaps really well
"""
CONTRACTIONS = """
i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll we're we've we'd we'll
they're they've they'd they'll that's that'd that'll there's there'd here's who's who'd what's where's when's how's
let's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't won't wouldn't shan't shouldn't can't
cannot couldn't mightn't mustn't ain't
"""

STOP_WORDS = tuple(
    sorted(
        " ".join(
            (ARTICLES, QUANTITIES, PRONOUNS, PREPOSITIONS, CONJUNCTIONS, AUXILIARIES, ADVERBS, CONTRACTIONS)
        ).split()
    )
)
