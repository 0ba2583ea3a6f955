"""The subdivisions of countries whose sales taxes are by subdivision, by the codes of ISO 3166-2
(https://www.iso.org/obp/ui/#search), with the names by which people write them.

In other countries a name need not be known: a tax that holds in the whole country finds its customer by that.
"""

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NAMES: Final = {
    "BR": """
        AC Acre; AL Alagoas; AM Amazonas; AP Amapá; BA Bahia; CE Ceará; DF Distrito Federal/Federal District;
        ES Espírito Santo; GO Goiás; MA Maranhão; MG Minas Gerais; MS Mato Grosso do Sul; MT Mato Grosso; PA Pará;
        PB Paraíba; PE Pernambuco; PI Piauí; PR Paraná; RJ Rio de Janeiro; RN Rio Grande do Norte; RO Rondônia;
        RR Roraima; RS Rio Grande do Sul; SC Santa Catarina; SE Sergipe; SP São Paulo; TO Tocantins
    """,
    "CA": """
        AB Alberta; BC British Columbia/Colombie-Britannique; MB Manitoba; NB New Brunswick/Nouveau-Brunswick;
        NL Newfoundland and Labrador/Newfoundland/Terre-Neuve-et-Labrador; NS Nova Scotia/Nouvelle-Écosse;
        NT Northwest Territories/Territoires du Nord-Ouest; NU Nunavut; ON Ontario;
        PE Prince Edward Island/PEI/Île-du-Prince-Édouard; QC Quebec/Québec; SK Saskatchewan; YT Yukon/Yukon Territory
    """,
    "IN": """
        AN Andaman and Nicobar Islands/Andaman and Nicobar; AP Andhra Pradesh; AR Arunachal Pradesh; AS Assam; BR Bihar;
        CG Chhattisgarh/CT; CH Chandigarh; DH Dadra and Nagar Haveli and Daman and Diu/Dadra and Nagar Haveli/
        Daman and Diu/DN/DD; DL Delhi/New Delhi/NCT of Delhi; GA Goa; GJ Gujarat; HP Himachal Pradesh; HR Haryana;
        JH Jharkhand; JK Jammu and Kashmir; KA Karnataka; KL Kerala; LA Ladakh; LD Lakshadweep; MH Maharashtra;
        ML Meghalaya; MN Manipur; MP Madhya Pradesh; MZ Mizoram; NL Nagaland; OD Odisha/Orissa/OR; PB Punjab;
        PY Puducherry/Pondicherry; RJ Rajasthan; SK Sikkim; TN Tamil Nadu; TR Tripura; TS Telangana/TG;
        UK Uttarakhand/Uttaranchal/UT; UP Uttar Pradesh; WB West Bengal
    """,
    "US": """
        AA Armed Forces Americas; AE Armed Forces Europe/Armed Forces Africa/Armed Forces Canada/
        Armed Forces Middle East; AK Alaska; AL Alabama; AP Armed Forces Pacific; AR Arkansas; AS American Samoa;
        AZ Arizona; CA California; CO Colorado; CT Connecticut; DC District of Columbia/Washington DC; DE Delaware;
        FL Florida; GA Georgia; GU Guam; HI Hawaii; IA Iowa; ID Idaho; IL Illinois; IN Indiana; KS Kansas; KY Kentucky;
        LA Louisiana; MA Massachusetts; MD Maryland; ME Maine; MI Michigan; MN Minnesota; MO Missouri;
        MP Northern Mariana Islands; MS Mississippi; MT Montana; NC North Carolina; ND North Dakota; NE Nebraska;
        NH New Hampshire; NJ New Jersey; NM New Mexico; NV Nevada; NY New York/New York State; OH Ohio; OK Oklahoma;
        OR Oregon; PA Pennsylvania; PR Puerto Rico; RI Rhode Island; SC South Carolina; SD South Dakota; TN Tennessee;
        TX Texas; UM United States Minor Outlying Islands; UT Utah; VA Virginia; VI Virgin Islands/US Virgin Islands;
        VT Vermont; WA Washington/Washington State; WI Wisconsin; WV West Virginia; WY Wyoming
    """,
}
"""A code, its name, and what else it is called; a code that ISO 3166-2 had before is such a name. The three of the
United States' armed forces are the post's.
"""


def _plain(text: str) -> str:
    """Letters and digits alone, without accents and case."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(each for each in decomposed if each.isalnum())


def _read(lines: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for entry in " ".join(lines.split()).split("; "):
        code, _, names = entry.partition(" ")
        for name in (code, *names.split("/")):
            assert found.setdefault(_plain(name), code) == code, f"{name} is two subdivisions"
    return MappingProxyType(found)


_KNOWN: Final = {country: _read(lines) for country, lines in _NAMES.items()}

SUBDIVISIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {country: tuple(sorted(set(known.values()))) for country, known in _KNOWN.items()}
)
"""The codes of each country that has sales taxes by subdivision, without the country."""


def subdivision_of(country: str, region: str) -> str | None:
    """The code of one that is given by its code, with the country or without, or by a name that is known."""
    known = _KNOWN.get(country, {})
    return known.get(_plain(region)) or known.get(_plain(region.strip().upper().removeprefix(f"{country}-")))
