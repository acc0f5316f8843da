// What an SMS costs: how many parts a text is sent in (3GPP TS 23.038 and 23.040).

const ALPHABET = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSIONS = "\f^{}\\[~]|€"; // an escape goes before each: two septets

const GSM = new Set(ALPHABET + EXTENSIONS), EXTENDED = new Set(EXTENSIONS);

// {parts, used, most, unit}: characters of the whole text, and how many fit into so many parts.
export function smsLength(text) {
  const letters = [...text];
  const gsm = letters.every((letter) => GSM.has(letter));
  const sizes = letters.map((letter) => (gsm ? (EXTENDED.has(letter) ? 2 : 1) : letter.length));
  const used = sizes.reduce((sum, size) => sum + size, 0);
  const unit = gsm ? "GSM" : "UCS-2";
  const [single, each] = gsm ? [160, 153] : [70, 67];
  if (used <= single) return { parts: 1, used, most: single, unit };
  let parts = 1, inPart = 0;
  for (const size of sizes) { // a letter of two units is not divided between two parts
    if (inPart + size > each) {
      parts += 1;
      inPart = 0;
    }
    inPart += size;
  }
  return { parts, used, most: parts * each, unit };
}

export function smsHint(text) {
  const { parts, used, most, unit } = smsLength(text);
  return `${parts === 1 ? "1 SMS" : `costs ${parts} SMS`}: ${used} of ${most} ${unit} characters`;
}
