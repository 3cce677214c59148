"""Which image an ``ImageID`` means: managed, of a gallery of ours, community, shared, or of the marketplace."""

from __future__ import annotations

from typing import Any

from dispatcher.driver import Misconfigured
from drivers.azure.parameters import UNMANAGED, Parameters

MARKETPLACE = "marketplace:"


def image_reference(image_id: str, parameters: Parameters) -> dict[str, Any]:
    """The member ``imageReference`` of a request. The first form that fits decides. Raises Misconfigured."""
    lowered = image_id.lower()
    # 1. marketplace:publisher:offer:sku:version
    if lowered.startswith(MARKETPLACE):
        return _marketplace(image_id.split(":")[1:])
    # 2. A blob: ended.
    if lowered.startswith(("http://", "https://")):
        raise Misconfigured("", f"ImageID {image_id}: {UNMANAGED}")
    # 3. Whole paths of community and shared galleries, and of anything in a subscription.
    if lowered.startswith("/communitygalleries/"):
        return {"communityGalleryImageId": image_id}
    if lowered.startswith("/sharedgalleries/"):
        return {"sharedGalleryImageId": image_id}
    if lowered.startswith("/subscriptions/"):
        return {"id": image_id}
    # 4. A bare name, as upstream understands it.
    if not image_id or "/" in image_id:
        raise Misconfigured("", f"ImageID {image_id!r}: name a managed image, or give a whole path or marketplace:…")
    return {"id": _of_our_group(image_id, parameters)}


def _marketplace(parts: list[str]) -> dict[str, Any]:
    if len(parts) != 4 or not all(parts):
        raise Misconfigured("", "ImageID: a marketplace image is written marketplace:publisher:offer:sku:version")
    return dict(zip(("publisher", "offer", "sku", "version"), parts, strict=True))


def _of_our_group(name: str, parameters: Parameters) -> str:
    group = f"/subscriptions/{parameters.subscription}/resourceGroups/{parameters.image_group}/providers/Microsoft.Compute"
    if parameters.gallery:
        return f"{group}/galleries/{parameters.gallery}/images/{name}/versions/{parameters.gallery_version}"
    return f"{group}/images/{name}"
