"""Limits of what is sent and asked, stated once: the service, clients and backfills share them.

Lengths are counted in characters, sizes in bytes of JSON.
"""

LONGEST_CONTENT = 200_000
LONGEST_ID = 255
LONGEST_TITLE = 1_000
LARGEST_METADATA = 16 * 1024
DEEPEST_METADATA = 32
MOST_FIELDS = 64
LARGEST_BATCH = 1_000
LARGEST_ID = 2**63 - 1
LARGEST_LIMIT = 100
LONGEST_QUERY = 20_000
#: Quoted phrases of a question, excluded words and phrases of a question, and words of a phrase.
MOST_PHRASES = 32
LONGEST_PHRASE = 1_000
#: Values, at whatever depth, of the metadata that a question asks for: each is looked for in turn.
MOST_WANTED = 32
#: Names that a list of a question may hold, sessions aside.
MOST_NAMES = 100
