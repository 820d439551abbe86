"""Two dozen texts to look at a model's channels with, and two dozen others to test engines on."""

SAMPLES = tuple(
    """\
The meeting moved to Thursday because the client could not make it before noon.
I forgot my password again; can you send me the reset link?
def connect(url: str, timeout: float = 5.0) -> Connection: return Connection(url, timeout)
ERROR 2024-03-11 02:14:07 worker-3: connection reset by peer (errno 104), retrying in 8 s
Alice: yes
What did we decide about the colour of the kitchen walls?
She adopted a second cat last spring and named it after her grandmother.
SELECT name, count(*) FROM orders WHERE created_at > now() - interval '7 days' GROUP BY name
The boundary layer separates from the wall where the pressure rises too quickly along the flow.
https://example.org/docs/install?version=2.1#linux
Je ne peux pas venir demain, mais Paul apportera les documents.
Bob: lol that is exactly what I told him :D
Preheat the oven to 180 degrees, mix butter and sugar, then fold in the flour and three eggs.
Remind me to renew the passport before the trip to Japan in October 2025.
The patient reports mild headaches since the change of medication two weeks ago.
sudo apt-get install --reinstall linux-image-generic && sudo update-grub
Quarterly revenue rose by 12.4% to 3.8 million euros, mainly through renewals.
Assistant: You can freeze the dough for up to three months, but let it thaw overnight in the \
fridge before you bake it, otherwise the crust will crack and the middle stays raw.
my dog is allergic to chicken so we only buy the salmon one now
Die Sitzung wurde vertagt, weil der Bericht noch nicht fertig war.
He plays the cello in a small orchestra every Sunday and hopes to tour next year.
{"id": 42, "status": "failed", "reason": "quota exceeded", "retry": true}
When is the rent due, and who pays for the broken window?
We compared three databases on the same hardware; the slowest answered in four milliseconds and \
the fastest in one, but only while everything fitted into memory.""".splitlines()
)

TESTS = tuple(
    """\
Could you book a table for six at the Thai place on Friday?
The deployment failed because the migration had already been applied by the other job.
import numpy as np; vectors = np.zeros((1024, 384), dtype=np.float32)
Carol: ok, thanks!
Which hotel did we stay at in Lisbon two summers ago?
WARN disk usage at 91% on /dev/sda1, oldest snapshot is 14 days old
Her son starts school in September, so they are looking for a flat nearby.
Shock waves form when the air ahead of the wing cannot move out of the way in time.
User: what's the difference between a process and a thread
A thread shares its memory with the other threads of a process, while a process has its own; that \
makes threads cheaper to start and easier to get wrong.
Mañana tengo que entregar el informe antes de las nueve.
git rebase --onto main feature~3 feature
He said he would never eat oysters again after that night.
The invoice 2023-0417 over 1,280.50 EUR is overdue since 3 May.
UPDATE accounts SET balance = balance - 100 WHERE id = 7 RETURNING balance
Try turning the router off and on again, then check whether the green light blinks.
We agreed to use tabs, not spaces, and to never speak of it again.
Das Rezept braucht zwei Tassen Mehl, eine Prise Salz und viel Geduld.
no
The orchestra rehearses on Mondays; bring the second violin part and a pencil.
My blood pressure was 135 over 85 this morning, a bit lower than last week.
How do I mount a USB stick read-only from the terminal?
Notes: budget approved, hiring paused until Q3, Dana owns the follow-up with legal.
I moved from Toronto to Berlin in 2019 because of the job, and miss the lakes.""".splitlines()
)
