"""What the demo's correspondents write: invented openings and answers in several languages, newsletters, alarms.

`{name}` is the addressee's first name, `{me}` the writer's.
"""

from __future__ import annotations

import msgspec


class Opening(msgspec.Struct, frozen=True):
    """A first letter. `attachment` is a file name whose ending says what is in it."""

    subject: str
    text: str
    attachment: str | None = None


class Language(msgspec.Struct, frozen=True):
    """What somebody who writes in it has to say; `charset` is what their mail program uses."""

    openings: tuple[Opening, ...]
    answers: tuple[str, ...]
    wrote: str
    charset: str = "utf-8"


LANGUAGES = {
    "en": Language(
        (
            Opening(
                "Delivery slot for Thursday",
                "Hello {name},\n\nour driver can be with you on Thursday between 7 and 9. There are four pallets, "
                "one of them oversize. Could you confirm that bay 2 is free?\n\nKind regards\n{me}",
            ),
            Opening(
                "Purchase order 4471",
                "Hi {name},\n\nplease find our order attached. We have kept to the quantities we talked about, "
                "only the brass fittings are twelve instead of ten.\n\nBest\n{me}",
                "order-4471.pdf",
            ),
            Opening(
                "Question about invoice 20318",
                "Dear {name},\n\nthe freight on invoice 20318 seems to be charged twice, see lines 4 and 9. "
                "Could you have a look before we release the payment run tonight?\n\n{me}",
            ),
            Opening(
                "Figures for the quarter",
                "{name},\n\nhere are the figures as promised. The March column is still provisional.\n\n{me}",
                "quarter.csv",
            ),
            Opening(
                "Sample of the new finish",
                "Hello {name},\n\nI have put a photo of the sample in. In daylight it is a touch warmer. "
                "Tell me which of the two you would rather have on the sign.\n\nAll the best\n{me}",
                "sample.png",
            ),
            Opening(
                "Site visit next week",
                "Dear {name},\n\nwould Wednesday at 10:30 suit you? I have attached an invitation; "
                "if another time is better, just move it.\n\nMany thanks\n{me}",
                "visit.ics",
            ),
        ),
        (
            "Thanks {name}, that is fine with us.\n\n{me}",
            "Hi {name},\n\ngood that you ask: no, let us wait for the drawing. I will be back on Monday.\n\n{me}",
            "{name}, agreed. Would you put it in writing for the file?\n\n{me}",
            "Thank you. One more thing: could we have it in two parts?\n\n{me}",
        ),
        "wrote:",
    ),
    "de": Language(
        (
            Opening(
                "Angebot über Kabelkanäle",
                "Guten Tag {name},\n\nanbei unser Angebot. Für die Größe 60×40 gewähren wir zusätzlich 3 % Skonto, "
                "wenn Sie bis Ende des Monats bestellen.\n\nMit freundlichen Grüßen\n{me}",
                "angebot.pdf",
            ),
            Opening(
                "Rückfrage zur Lieferung",
                "Hallo {name},\n\nes fehlen zwei Kisten. Laut Lieferschein wären es acht gewesen, "
                "angekommen sind sechs. Könnten Sie bitte nachsehen?\n\nViele Grüße\n{me}",
            ),
            Opening(
                "Prüfbericht Gehäuse",
                "Hallo {name},\n\nder Prüfbericht ist fertig; alle Maße liegen innerhalb der Toleranz. "
                "Die Fotos reiche ich morgen nach.\n\nSchöne Grüße\n{me}",
                "pruefbericht.csv",
            ),
        ),
        (
            "Hallo {name},\n\ndas passt so, vielen Dank.\n\n{me}",
            "Guten Tag {name},\n\nbitte noch bis übermorgen Geduld, die Größen kläre ich gerade.\n\n{me}",
            "Einverstanden. Schicken Sie mir bitte eine Bestätigung?\n\n{me}",
        ),
        "schrieb:",
        "iso-8859-1",
    ),
    "fr": Language(
        (
            Opening(
                "Réservation du stand à Lyon",
                "Bonjour {name},\n\nle stand d'angle est encore libre, mais l'organisateur attend une réponse "
                "avant vendredi. Voulez-vous que je le réserve ?\n\nBien à vous\n{me}",
            ),
            Opening(
                "Maquette de la brochure",
                "Bonjour {name},\n\nvoici la maquette corrigée. J'ai gardé le bleu d'origine.\n\nCordialement\n{me}",
                "maquette.png",
            ),
        ),
        (
            "Merci {name}, c'est parfait.\n\n{me}",
            "Bonjour {name},\n\nil me faudrait encore l'accord de la comptabilité. Je vous réponds demain.\n\n{me}",
        ),
        "a écrit :",
        "windows-1252",
    ),
    "es": Language(
        (
            Opening(
                "Salida del buque adelantada",
                "Hola {name}:\n\nel buque sale el martes y no el jueves. ¿Podéis tener los papeles listos "
                "para el lunes a mediodía?\n\nUn saludo\n{me}",
            ),
        ),
        ("Perfecto, {name}. Muchas gracias.\n\n{me}", "Lo miro y te digo algo mañana por la mañana.\n\n{me}"),
        "escribió:",
    ),
    "pl": Language(
        (
            Opening(
                "Zapytanie o części zamienne",
                "Dzień dobry {name},\n\nproszę o wycenę łożysk według załączonej listy. Termin jest dla nas "
                "ważniejszy niż cena.\n\nPozdrawiam\n{me}",
                "czesci.csv",
            ),
        ),
        ("Dziękuję, {name}, zamawiamy.\n\n{me}", "Proszę jeszcze o potwierdzenie terminu dostawy.\n\n{me}"),
        "napisał(a):",
        "iso-8859-2",
    ),
    "it": Language(
        (
            Opening(
                "Bozza del nuovo marchio",
                "Buongiorno {name},\n\nle mando la bozza. La più semplice mi sembra anche la più riuscita: "
                "che cosa ne pensa?\n\nCordiali saluti\n{me}",
                "bozza.png",
            ),
        ),
        ("Benissimo, procediamo così.\n\n{me}", "Ci penso e le scrivo giovedì.\n\n{me}"),
        "ha scritto:",
    ),
    "ja": Language(
        (
            Opening(
                "お見積りの件",
                "{name} 様\n\nいつもお世話になっております。ご依頼の見積書を添付いたします。\n"
                "納期は四週間の予定です。ご確認をお願いいたします。\n\n{me}",
                "mitsumori.pdf",
            ),
        ),
        ("{name} 様\n\n承知いたしました。よろしくお願いいたします。\n\n{me}",),
        "さんは書きました:",
        "iso-2022-jp",
    ),
    "zh": Language(
        (Opening("关于样品的问题", "{name}，您好：\n\n样品已经寄出，预计周五到达。请收到后告诉我。\n\n祝好\n{me}"),),
        ("收到，谢谢 {name}。\n\n{me}",),
        "写道：",
        "gb18030",
    ),
    "ar": Language(
        (
            Opening(
                "موعد الشحنة",
                "مرحبا {name}،\n\nستصل الشحنة يوم الاثنين إن شاء الله. هل المستودع جاهز؟\n\nمع التحية\n{me}",
            ),
        ),
        ("شكرا {name}، تم الاستلام.\n\n{me}",),
        "كتب:",
    ),
    "uk": Language(
        (
            Opening(
                "Сертифікати на сталь",
                "Доброго дня, {name}!\n\nНадсилаю сертифікати на партію 17.\n\nЗ повагою\n{me}",
                "sertyfikat.pdf",
            ),
        ),
        ("Дякую, {name}, усе гаразд.\n\n{me}",),
        "пише:",
        "koi8-u",
    ),
}

COLLEAGUES = (
    Opening("Stand-up moved to 9:45", "Morning,\n\nthe room is taken until then.\n\n{me}"),
    Opening("Who has the projector?", "Hello {name},\n\nit is not in its cupboard. Do you have it?\n\n{me}"),
    Opening(
        "Draft for the board",
        "{name},\n\ncould you read it before noon? Page 3 is the one that matters.\n\n{me}",
        "draft.pdf",
    ),
    Opening("Stock count", "{name},\n\nthe count is done, we are four boxes over.\n\n{me}", "stock.csv"),
    Opening("Lunch on Friday", "Hi {name},\n\nthe new place by the canal? I would book for one o'clock.\n\n{me}"),
    Opening(
        "Visitor parking", "{name},\n\nI have kept two places for your visitors. Tell them to ring at gate B.\n\n{me}"
    ),
    Opening("Urlaub im März", "Hallo {name},\n\nich wäre vom 9. bis 13. nicht da. Geht das bei dir?\n\n{me}"),
)

NEWSLETTERS = (
    ("Harbour Weekly", "news@harbour-weekly.example", "This week: tariffs, tides and a new crane"),
    ("Packaging Today", "letter@packaging-today.example", "Seven ways to use less film"),
    ("Mittelstand kompakt", "redaktion@mittelstand-kompakt.example", "Fördermittel: die Fristen im Überblick"),
)

ALARM = (
    "From: UPS rack 4 <alarm@power-monitor.example>\n"
    "To: {to}\n"
    "Subject: UPS rack 4: battery test passed\n"
    "\n"
    "This is an automatic message. Load 31 %, runtime 48 min.\n"
)
"""A device without a clock: the same bytes every time, and no Message-ID."""
