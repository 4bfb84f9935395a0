"""What a box of the page says, once it is drawn."""

from playwright.sync_api import Page, expect


def says(page: Page, selector: str, text: str) -> None:
    """Wait until a box holds a text, whether or not its older self still stands beside it.

    While a page is drawn anew, Streamlit keeps what it showed before until the run has ended, and
    Playwright refuses to look at two boxes of one selector.
    """
    expect(page.locator(selector).filter(has_text=text)).to_have_count(1)
