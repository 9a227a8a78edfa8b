"""IRSA's dust service, in the words of the answers that astroquery recorded."""

import numpy as np

from skyserver.server import HTML, Reply

_ANSWER = """<?xml version="1.0"?>
<results status="ok">
  <input>
    <objname>      {ra:.6f} {dec:.6f} equ J2000    </objname>
    <regSize>
      {region} deg
    </regSize>
  </input>
  <result>
    <desc>
      E(B-V) Reddening
    </desc>
    <statistics>
      <refPixelValueSandF>
             {recalibrated:.4f} (mag)
      </refPixelValueSandF>
      <refPixelValueSFD>
             {sfd:.4f} (mag)
      </refPixelValueSFD>
      <refCoordinate>
        {ra:.6f} {dec:.6f} equ J2000
      </refCoordinate>
      <meanValueSFD>
           {mean:.4f} (mag)
      </meanValueSFD>
    </statistics>
  </result>
  <result>
    <desc>
      100 Micron Emission
    </desc>
    <statistics>
      <refPixelValue>
          29.3641 (MJy/sr)
      </refPixelValue>
    </statistics>
  </result>
</results>
"""
_ERROR = b"""<results status="error">
  <message>
    Coordinate [12] lookup error: Invalid object name.
  </message>
</results>
"""


def sfd_at(ra, dec):
    """E(B-V) of this sky, to the digits of the answer."""
    return round(0.05 + 0.03 * np.sin(np.radians(ra)) + 0.01 * np.cos(np.radians(dec)), 4)


def service(sky, asked):
    if not asked.path.startswith("/cgi-bin/DUST/nph-dust"):
        return Reply(HTML, 404)
    words = asked.query.get("locstr", "").split()
    if len(words) != 4 or words[2:] != ["equ", "J2000"]:
        return Reply(_ERROR)
    ra, dec = float(words[0]), float(words[1])
    sfd = sfd_at(ra, dec)
    region = float(asked.query.get("regSize", 5.0))
    text = _ANSWER.format(ra=ra, dec=dec, region=region, sfd=sfd, recalibrated=0.86 * sfd, mean=1.2 * sfd)
    return Reply(text.encode(), headers={"Content-Type": "text/xml"})


HOSTS = {"irsa.ipac.caltech.edu": service}
