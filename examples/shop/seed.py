"""The shop's first stock, customers, orders and reviews: the same on every machine."""

import random
from datetime import datetime, timedelta, timezone

from sqlalchemy.ext.asyncio import AsyncSession

from models import Category, Customer, Order, OrderItem, Product, Review

ORDERS = 200
REVIEWS = 150
FIRST_ORDER = datetime(2026, 1, 5, 9, 0, tzinfo=timezone.utc)

# (slug, name, hue of its pictures, "product: price in cents")
CATEGORIES = [
    (
        "coffee",
        "Coffee",
        24,
        {
            "Pour-over Cone": 2400,
            "Gooseneck Kettle": 6900,
            "Hand Grinder": 8900,
            "Paper Filters, 100": 650,
            "Enamel Percolator": 4800,
            "Coffee Scale": 3900,
            "Cork Canister": 2700,
            "Espresso Cups, Pair": 1900,
        },
    ),
    (
        "tea",
        "Tea",
        140,
        {
            "Cast-iron Teapot": 5400,
            "Bamboo Whisk": 1600,
            "Glass Infuser": 1450,
            "Tea Caddy": 2200,
            "Stoneware Bowl": 1800,
            "Darjeeling, First Flush": 1290,
            "Smoked Lapsang": 1150,
            "Linen Tea Bags": 890,
        },
    ),
    (
        "kitchen",
        "Kitchen",
        8,
        {
            "Carbon Steel Pan": 7200,
            "Olive Wood Board": 4600,
            "Paring Knife": 3400,
            "Mortar and Pestle": 3900,
            "Rolling Pin": 2100,
            "Salt Cellar": 1700,
            "Bread Tin": 2600,
            "Citrus Press": 2300,
        },
    ),
    (
        "stationery",
        "Stationery",
        212,
        {
            "Dot-grid Notebook": 1800,
            "Brass Pen": 4200,
            "Pencil Set, 12": 1500,
            "Desk Calendar": 1400,
            "Letter Opener": 1950,
            "Ink Bottle, Harbour Blue": 1600,
            "Index Cards": 750,
            "Leather Pen Roll": 3600,
        },
    ),
    (
        "garden",
        "Garden",
        98,
        {
            "Copper Watering Can": 7800,
            "Hand Trowel": 2300,
            "Terracotta Pots, Three": 2900,
            "Herb Seeds": 590,
            "Garden Twine": 850,
            "Pruning Shears": 4400,
            "Kneeling Pad": 2000,
        },
    ),
    (
        "lighting",
        "Lighting",
        46,
        {
            "Desk Lamp": 8600,
            "Beeswax Candles": 1650,
            "Paper Lantern": 2400,
            "Storm Lantern": 5900,
            "Brass Candlestick": 3100,
            "Reading Light": 4700,
            "Matches in a Jar": 1200,
        },
    ),
    (
        "textiles",
        "Textiles",
        330,
        {
            "Wool Blanket": 9800,
            "Linen Apron": 4500,
            "Tea Towels, Pair": 1900,
            "Canvas Tote": 1700,
            "Waffle Bath Towel": 3300,
            "Felt Slippers": 4100,
            "Cotton Napkins, Four": 2500,
        },
    ),
    (
        "tools",
        "Tools",
        266,
        {
            "Pocket Knife": 3800,
            "Folding Rule": 1300,
            "Claw Hammer": 2900,
            "Beech Toolbox": 6400,
            "Screwdriver Set": 3500,
            "Sewing Kit": 1600,
            "Shoe Brush": 1450,
        },
    ),
]
FEATURED = {
    "Gooseneck Kettle",
    "Cast-iron Teapot",
    "Olive Wood Board",
    "Brass Pen",
    "Copper Watering Can",
    "Storm Lantern",
    "Wool Blanket",
    "Beech Toolbox",
}
FIRST_NAMES = ["Ada", "Bela", "Chidi", "Dora", "Emil", "Farah", "Goro", "Hana", "Ivo", "Juno"]
LAST_NAMES = ["Akers", "Brandt", "Castell", "Dahl"]
STATUSES = ["delivered", "delivered", "delivered", "shipped", "placed"]
PRAISE = {
    5: ["I bought a second one.", "Better than the picture.", "Will outlive me."],
    4: ["Good, and well packed.", "Does what it should.", "A little heavy, otherwise fine."],
    3: ["All right for the price.", "The colour is not quite what I expected."],
    2: ["Arrived late and with a scratch.", "Smaller than I thought."],
}


def seed(session: AsyncSession) -> None:
    # A generator of its own: the same shop every time, and nobody else's randomness touched.
    rng = random.Random(2026)
    categories = make_categories()
    customers = make_customers()
    products = [product for category in categories for product in category.products]
    # Rows get their ids in the order of these calls; later ones would pull in their parents first.
    session.add_all([*categories, *products, *customers])
    session.add_all([make_order(number, rng, customers, products) for number in range(ORDERS)])
    session.add_all([make_review(rng, customers, products) for _ in range(REVIEWS)])


def make_categories() -> list[Category]:
    return [
        Category(slug=slug, name=name, hue=hue, products=make_products(name, prices))
        for slug, name, hue, prices in CATEGORIES
    ]


def make_products(category: str, prices: dict[str, int]) -> list[Product]:
    return [
        Product(
            name=name,
            price=price,
            featured=name in FEATURED,
            description=f"{name}, from our {category.lower()} shelf. Made in small batches, "
            "repaired free of charge for ten years, and sent without plastic.",
        )
        for name, price in prices.items()
    ]


def make_customers() -> list[Customer]:
    return [
        Customer(name=f"{first} {last}", email=f"{first}.{last}@example.com".lower())
        for last in LAST_NAMES
        for first in FIRST_NAMES
    ]


def make_order(
    number: int, rng: random.Random, customers: list[Customer], products: list[Product]
) -> Order:
    return Order(
        customer=rng.choice(customers),
        placed_at=FIRST_ORDER + timedelta(hours=21 * number, minutes=rng.randrange(600)),
        status=rng.choice(STATUSES),
        items=[
            OrderItem(product=product, quantity=rng.randint(1, 3), unit_price=product.price)
            for product in rng.sample(products, rng.randint(1, 5))
        ],
    )


def make_review(rng: random.Random, customers: list[Customer], products: list[Product]) -> Review:
    rating = rng.choice([5, 5, 5, 4, 4, 3, 2])
    return Review(
        product=rng.choice(products),
        customer=rng.choice(customers),
        rating=rating,
        text=rng.choice(PRAISE[rating]),
    )
