"""Word pieces: the tokenizer of a Hugging Face directory that holds a cased BERT."""
from pathlib import Path

from npukit.errors import UserError

LONGEST = 512  # word pieces, the positions that BERT has


def load(folder: Path, flag: str = "--tokenizer_path"):
    """Return the folder's tokenizer, a tokenizers.Tokenizer that neither cuts nor fills up; case is kept.

    transformers would give the same one, two seconds later; tests compare the two.
    flag    that named the folder, for the message
    raises  UserError where the folder holds none
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    vocabulary, whole = folder / "vocab.txt", folder / "tokenizer.json"
    if not vocabulary.is_file() and not whole.is_file():
        raise UserError(f"{folder} holds neither vocab.txt nor tokenizer.json; {flag} is a Hugging Face directory")
    try:
        tokenizer = Tokenizer.from_file(str(whole)) if whole.is_file() else BertWordPieceTokenizer(str(vocabulary), lowercase=False)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("\N{SNOWMAN}")  # a vocabulary without [UNK] is found out at the first unknown word, not before
        return tokenizer
    except Exception as error:  # tokenizers raises nothing else
        raise UserError(f"{folder} holds no tokenizer: {' '.join(str(error).split())[:300]}") from None
